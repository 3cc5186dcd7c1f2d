"""The driver's display: nothing, lines of text, a live table, or the output of a reporter."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from hpctune.core.state import ExperimentState
from hpctune.errors import TuneError
from hpctune.model.spec import ExperimentSpec
from hpctune.output.display.live import RichProgress
from hpctune.output.display.plain import PlainDisplay
from hpctune.output.display.reporters import ProgressReporter, TuneReporterBase
from hpctune.output.display.results import ResultLines
from hpctune.output.display.status import Facts, call_words, expected_in
from hpctune.output.display.stream import LineDisplay, SafeStream, place_of
from hpctune.ports import CallStats
from hpctune.trial import Trial

Calls = Callable[[], CallStats]


class Display(Protocol):
    """What the driver shows itself on."""

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        """Called at each turn of the driver; shows something when it is time. ``note``: an outage, in words."""

    def about(self, facts: Facts) -> None:
        """Facts about workers and queue, to be shown from now on."""

    def message(self, text: str) -> None:
        """Show one line, now."""

    def close(self) -> None:
        """Nothing more will come."""


class SilentDisplay:
    """Shows only messages, on stderr. Urgent messages are shown even in the quiet mode."""

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        return

    def about(self, facts: Facts) -> None:
        return

    def message(self, text: str) -> None:
        SafeStream(sys.stderr).write(text.rstrip("\n") + "\n")

    def close(self) -> None:
        return


class ReporterDisplay(LineDisplay):
    """Shows what the user's reporter shows."""

    def __init__(
        self, reporter: ProgressReporter, stream: TextIO, verbose: int, where: str = "", calls: Calls | None = None
    ) -> None:
        super().__init__(stream, where)
        self._reporter, self._calls = reporter, calls
        self._results = ResultLines() if verbose >= 3 else None
        self._verbose, self._ready, self._done, self._now = verbose, False, False, 0.0

    def _setup(self, state: ExperimentState, now: float) -> None:
        spec = state.spec
        if isinstance(self._reporter, TuneReporterBase):
            self._reporter.clock, self._reporter.verbose = lambda: self._now, self._verbose
        started = state.drivers[0].at if state.drivers else now
        self._reporter.setup(start_time=started, total_samples=None, metric=spec.metric, mode=spec.mode)
        self._ready = True

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        self._now = now
        if not self._ready:
            self._setup(state, now)
        if self._results is not None:
            for line in self._results.news(state):
                self._lines.write(line + "\n")
        if self._done or not (self._reporter.should_report(trials, done) or done):
            return
        self._done = done
        if isinstance(self._reporter, TuneReporterBase):
            self._reporter.expected = expected_in(state)
        where = place_of(trials, self._where)
        info = [f"Results: {where}"] if where else []
        info += [f"Cluster: {call_words(self._calls())}"] if self._calls is not None else []
        info += [f"{heading}: {text}" for heading, text in self._facts]
        info += [f"Note: {note}"] if note else []
        try:
            self._reporter.report(trials, done, *info)
        except OSError:
            return  # its output stream is closed
        except Exception as error:
            raise TuneError(
                f"Reporter {type(self._reporter).__name__} failed: {error!r}. Mend or remove it."
            ) from error


def make_display(
    spec: ExperimentSpec,
    verbose: int = 2,
    reporter: ProgressReporter | None = None,
    stream: TextIO | None = None,
    *,
    where: str = "",
    calls: Calls | None = None,
) -> Display:
    """The display for a verbosity: 0 nothing, 1 the status in a few lines, 2 with tables, 3 and every result.

    ``where``: the experiment's directory; ``calls``: the cluster's ``stats``, to be shown.
    """
    stream = sys.stdout if stream is None else stream
    if int(verbose) <= 0:
        return SilentDisplay()
    if reporter is not None:
        return ReporterDisplay(reporter, stream, int(verbose), where, calls)
    if _is_terminal(stream):
        return RichProgress(stream, int(verbose), where, calls)
    return PlainDisplay(stream, int(verbose), where, calls)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except (OSError, ValueError):
        return False
