"""``DrivenExperiment``: an experiment with a started driver, and a way for callers to collect all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from hpctune.driver.engine import Driver
from hpctune.driver.loop import LeaveRequest
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial


@dataclass(frozen=True, slots=True)
class DrivenExperiment:
    """An experiment that is or was driven. ``leave``: the signal that ended the driving early, if any."""

    driver: Driver
    leave: LeaveRequest

    @property
    def left(self) -> str:
        """The signal that ended the driving early; empty if there was none."""
        return self.leave.reason

    @property
    def paths(self) -> ExperimentPaths:
        return self.driver.paths

    @property
    def trials(self) -> list[Trial]:
        """Views of all trials, as they are now."""
        driver = self.driver
        return [Trial(value, driver.paths, driver.spec) for value in driver.state.trials.values()]


_watchers: ContextVar[list[DrivenExperiment] | None] = ContextVar("hpctune_watchers", default=None)


@contextlib.contextmanager
def watched() -> Iterator[list[DrivenExperiment]]:
    """Collect every experiment whose driving begins in this context."""
    seen: list[DrivenExperiment] = []
    token = _watchers.set(seen)
    try:
        yield seen
    finally:
        _watchers.reset(token)


def note(experiment: DrivenExperiment) -> None:
    """Add ``experiment`` to the list of the surrounding :func:`watched`, if any."""
    seen = _watchers.get()
    if seen is not None:
        seen.append(experiment)
