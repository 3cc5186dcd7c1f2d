"""The display without a terminal, as in the log file of a driver job: lines, and the status block at the end."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TextIO

from hpctune.common.text import when
from hpctune.common.throttle import DRIVER_FACTOR, Throttle
from hpctune.core.state import ExperimentState
from hpctune.model import failures
from hpctune.model.rows import number
from hpctune.model.trial import Trial as TrialValue
from hpctune.output.display.layout import as_text
from hpctune.output.display.lines import NewBests, NewFailures, progress_line
from hpctune.output.display.results import News, result_line
from hpctune.output.display.status import status_of
from hpctune.output.display.stream import LineDisplay, columns_of, place_of
from hpctune.ports import CallStats
from hpctune.trial import Trial

LINE_S = 60.0
"""Seconds between two lines about the progress."""
BEST_S = 5.0
"""Seconds between two lines about a new best: the first comes at once, and of those that follow faster the last."""


class PlainDisplay(LineDisplay):
    """A line at each interval, at each new best and at each new failure; the status block at the end.

    ``verbose`` 1: the block has no tables; 3: and a line for each result. ``line_s``, ``best_s``: see LINE_S, BEST_S.
    """

    def __init__(
        self,
        stream: TextIO,
        verbose: int = 2,
        where: str = "",
        calls: Callable[[], CallStats] | None = None,
        line_s: float = LINE_S,
        best_s: float = BEST_S,
    ) -> None:
        super().__init__(stream, where)
        self._columns, self._verbose, self._calls = columns_of(stream), verbose, calls
        self._news, self._failures = News(), NewFailures()
        self._bests: NewBests | None = None
        self._line_due, self._best_due = Throttle(line_s, DRIVER_FACTOR), Throttle(best_s, DRIVER_FACTOR)
        self._done = False

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        reported, failed = self._news.look(state)
        if self._bests is None:
            self._bests = NewBests(state.spec.objectives)
            self._begin(state, self._bests, place_of(trials, self._where), now)
        if self._verbose >= 3:
            for trial in reported:
                self._lines.write(result_line(trial) + "\n")
        for line in self._failures.of(failed):
            self._tell(now, line)
        self._bests.note(reported)
        if self._bests.waiting and (done or self._best_due.due(now)):
            with self._best_due.measured(now):
                for line in self._bests.take():
                    self._tell(now, line)
        if done and not self._done:
            self._end(state, place_of(trials, self._where), note, now)
        elif not done and self._line_due.due(now):
            with self._line_due.measured(now):
                self._bests.reset(state.trials.values())
                for line in (progress_line(state, now, note), *self._failures.repeated()):
                    self._tell(now, line)

    def _begin(self, state: ExperimentState, bests: NewBests, where: str, now: float) -> None:
        """Say what goes on. What was reported or failed before this driver is no news."""
        self._tell(now, f"experiment {state.spec.name}" + (f", results: {where}" if where else ""))
        since = state.drivers[-1].at if state.drivers else now
        before = [trial for trial in state.trials.values() if _last_at(trial) < since]
        bests.reset(before)
        self._failures.know(trial for trial in before if failures.troubles(trial))

    def _end(self, state: ExperimentState, where: str, note: str, now: float) -> None:
        calls = self._calls() if self._calls is not None else None
        status = status_of(state, now, where=where, note=note, calls=calls, facts=self._facts, table=self._verbose >= 2)
        self._lines.write("\n" + as_text(status, self._columns) + "\n")
        self._done = True

    def _tell(self, now: float, line: str) -> None:
        """One line with the time; on a terminal it is wrapped."""
        text = f"{when(now)}  {line}"
        if self._columns is not None:
            text = "\n".join(textwrap.wrap(text, self._columns, subsequent_indent="  ", break_on_hyphens=False))
        self._lines.write(text + "\n")


def _last_at(trial: TrialValue) -> float:
    """Unix seconds of its end, else of its last result; infinite: it has none."""
    return trial.ended_at or number(trial.last, "timestamp") or math.inf
