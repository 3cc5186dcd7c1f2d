"""What the screens of ``hpctune top`` have in common: they look again and again, and keep the cursor where it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.text import Text
from textual import work
from textual.screen import Screen
from textual.widgets import DataTable, Static

from hpctune.common.throttle import Throttle
from hpctune.errors import TuneError


@dataclass(frozen=True, slots=True)
class Settings:
    """``every_s``: seconds between two looks. ``read_only``: nothing may be changed."""

    every_s: float = 3.0
    read_only: bool = False


class Watching(Screen[None]):
    """A screen that looks again and again, in a thread, so that a slow filesystem does not stop the keys."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self._throttle = settings, Throttle(settings.every_s)

    def on_mount(self) -> None:
        """Look at once, then regularly."""
        self.set_interval(0.25, self._look_when_due)
        self.look()

    def _look_when_due(self) -> None:
        if self.is_current and self._throttle.due(time.monotonic()):
            self.look()

    @work(thread=True, exclusive=True)
    def look(self) -> None:
        """Read, then show."""
        with self._throttle.measured(time.monotonic()):
            try:
                show = self.read()
            except TuneError as error:
                show = partial(self.told, str(error))
        self.app.call_from_thread(self._shown, show)

    def _shown(self, show: Callable[[], None]) -> None:
        """Show what was read, unless the screen was closed meanwhile."""
        if self.is_attached and self.children:
            show()

    def read(self) -> Callable[[], None]:
        """Read what is shown, and return what shows it."""
        raise AssertionError

    def told(self, words: str) -> None:
        """Show an error in place of the head."""
        self.query_one("#head", Static).update(Text(words, style="red"))


def fill(table: DataTable[Any], lines: Mapping[str, Sequence[str | Text]]) -> None:
    """Put ``lines`` into the table; the cursor stays on its line, and nothing is drawn again if nothing has changed."""
    keys = [str(key.value) for key in table.rows]
    if keys == list(lines):
        for key, cells in lines.items():
            for column, cell in zip(table.ordered_columns, cells, strict=True):
                if table.get_cell(key, column.key) != cell:
                    table.update_cell(key, column.key, cell, update_width=True)
        return
    at = keys[table.cursor_row] if 0 <= table.cursor_row < len(keys) else ""
    across, down = table.scroll_offset
    table.clear()
    for key, cells in lines.items():
        table.add_row(*cells, key=key)
    if at in lines:
        table.move_cursor(row=list(lines).index(at), scroll=False)
    table.scroll_to(across, down, animate=False)
