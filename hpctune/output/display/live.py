"""A live table on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from hpctune.common.throttle import DRIVER_FACTOR, Throttle
from hpctune.core.state import ExperimentState
from hpctune.output.display.curves import ShownCurves
from hpctune.output.display.layout import as_renderable
from hpctune.output.display.results import ResultLines
from hpctune.output.display.status import Facts, options_for, status_of
from hpctune.output.display.stream import place_of
from hpctune.ports import CallStats
from hpctune.trial import Trial

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

REFRESH_S = 0.5
_AROUND_ROWS = 17
"""Lines of the block that are not trials: headings, errors, what was left out."""


def live_block(state: ExperimentState, now: float, *, height: int, **more: Any) -> RenderableType:
    """The status block for a terminal of ``height`` lines. ``more``: as for :func:`status_of`."""
    rows = min(20, max(height - _AROUND_ROWS, 3))
    return as_renderable(status_of(state, now, options=options_for(state, max_rows=rows, max_error_rows=3), **more))


class RichProgress:
    """Redraws the status block in place; messages scroll by above it.

    The caller of :meth:`update` draws the block: there is no thread. A closed terminal is not an error.
    """

    def __init__(
        self,
        stream: TextIO,
        verbose: int = 2,
        where: str = "",
        calls: Callable[[], CallStats] | None = None,
        console: Console | None = None,
    ) -> None:
        from rich.console import Console

        self.console = console or Console(file=stream, highlight=False)
        self._verbose, self._where, self._calls = verbose, where, calls
        self._results = ResultLines() if verbose >= 3 else None
        self._curves = ShownCurves() if self.console.encoding.lower().startswith("utf") else None
        self._throttle = Throttle(REFRESH_S, DRIVER_FACTOR)
        self._live: Live | None = None
        self._facts: Facts = ()
        self._done = False

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        if self._results is not None:
            for line in self._results.news(state):
                self.message(line)
        if self._done or not (done or self._throttle.due(now)):
            return
        self._done = done
        with self._throttle.measured(now), contextlib.suppress(OSError, ValueError):
            self._draw(state, trials, note, now)
        if done:
            self.close()

    def _draw(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float) -> None:
        block = live_block(
            state,
            now,
            height=self.console.height,
            where=place_of(trials, self._where),
            note=note,
            calls=self._calls() if self._calls is not None else None,
            facts=self._facts,
            curves=self._curves,
            table=self._verbose >= 2,
        )
        if self._live is None:
            from rich.live import Live

            self._live = Live(block, console=self.console, auto_refresh=False, transient=False)
            self._live.start(refresh=True)
            self.console.show_cursor(True)  # a killed driver must not leave the terminal without a cursor
        else:
            self._live.update(block, refresh=True)

    def about(self, facts: Facts) -> None:
        self._facts = facts

    def message(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.console.print(text.rstrip("\n"), markup=False, highlight=False)

    def close(self) -> None:
        """Leave the last block on the terminal, and the terminal as it was."""
        if self._live is not None:
            live, self._live = self._live, None
            with contextlib.suppress(OSError, ValueError):
                live.stop()
