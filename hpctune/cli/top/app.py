"""The application of ``hpctune top``, and its list of experiments."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from hpctune.cli.top import read
from hpctune.cli.top.experiment import ExperimentScreen
from hpctune.cli.top.watching import Settings, Watching, fill
from hpctune.common.text import clean, duration, number
from hpctune.storage.layout import ExperimentPaths


class TopApp(App[None]):
    """``storage``: where experiments are listed. ``experiment``: the one that is shown first, if any."""

    TITLE = "hpctune"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    ProgressBar { padding: 0 1; width: 100%; }
    Bar { width: 1fr; }
    #trials, #experiments { height: 1fr; }
    #panels { height: 40%; min-height: 8; }
    .panel { width: 1fr; border: round $primary; }
    .narrow .panel { display: none; }
    .narrow .panel.shown { display: block; }
    #filter { height: 3; display: none; }
    #filter.open { display: block; }
    Question { align: center middle; }
    #question { width: 70; max-width: 95%; height: auto; border: round $warning; padding: 1 2; background: $surface; }
    #question Horizontal { height: auto; align-horizontal: right; }
    #question Label { width: 100%; }
    """

    def __init__(
        self, storage: Path, experiment: ExperimentPaths | None, *, every_s: float = 3.0, read_only: bool = False
    ) -> None:
        super().__init__(ansi_color=False)
        self.storage, self.experiment = storage, experiment
        self.settings = Settings(every_s, read_only)
        self.animation_level = "none"

    def on_mount(self) -> None:
        """Show the list, and the experiment above it."""
        self.push_screen(ExperimentList(self.storage, self.settings))
        if self.experiment is not None:
            self.push_screen(ExperimentScreen(self.experiment, self.settings))


class ExperimentList(Watching):
    """All experiments under the storage path."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.quit", "quit")]
    COLUMNS = ("name", "status", "trials", "best", "metric", "changed")

    def __init__(self, storage: Path, settings: Settings) -> None:
        super().__init__(settings)
        self.storage = storage

    def compose(self) -> ComposeResult:
        """The head and the table."""
        yield Static(id="head")
        yield DataTable(id="experiments", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Name the columns."""
        self.query_one(DataTable).add_columns(*self.COLUMNS)
        super().on_mount()

    def read(self) -> Callable[[], None]:
        """Read the experiments."""
        rows, now = read.experiment_rows(self.storage), time.time()
        return lambda: self._show(rows, now)

    def _show(self, rows: list[dict[str, Any]], now: float) -> None:
        table = self.query_one(DataTable)
        self.query_one("#head", Static).update(f"{len(rows)} experiments in {self.storage}; Enter opens one")
        lines = {
            row["path"]: [
                clean(row["name"]), row["status"], str(row.get("trials") or 0), number(row.get("best")),
                row.get("metric") or "", f"{duration(now - row['updated_at'])} ago" if row.get("updated_at") else "",
            ]
            for row in rows
        }  # fmt: skip
        fill(table, lines)

    @on(DataTable.RowSelected)
    def open(self, event: DataTable.RowSelected) -> None:
        """Show the chosen experiment."""
        paths = ExperimentPaths(Path(str(event.row_key.value)))
        self.app.push_screen(ExperimentScreen(paths, self.settings))
