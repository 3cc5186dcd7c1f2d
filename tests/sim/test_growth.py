"""As an experiment grows, neither the work for a result grows nor what is kept of a trial that is over."""

from __future__ import annotations

import io
import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

import pytest

from hpctune.common import throttle
from hpctune.core.compact import Packed
from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Trial
from hpctune.output.callback import Callback
from hpctune.output.display import plain
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.schedulers.async_hyperband import AsyncHyperBandScheduler
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.testing.simulation import Simulation

SCHEDULERS: dict[str, tuple[Callable[[], SchedulerPolicy], float]] = {
    "fifo": (FIFOScheduler, 1.02),
    "asha": (lambda: AsyncHyperBandScheduler(metric="loss", mode="min"), 1.1),
}
"""And by how much the work for two trials may differ: some of ASHA's have one result, some two."""


@pytest.fixture
def root() -> Iterator[Path]:
    """In memory where possible."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="hpctune-growth-", dir=memory) as directory:
        yield Path(directory) / "exp"


class Watched(dict[str, Trial]):
    """The trials of a state; counts those that are met on the way through all."""

    met = 0

    def counted(self, each: Iterable[Any]) -> Iterator[Any]:
        for one in each:
            self.met += 1
            yield one

    def __iter__(self) -> Iterator[str]:
        return self.counted(super().__iter__())

    def values(self) -> Any:
        return Way(self)

    def items(self) -> Any:
        return self.counted(super().items())


class Way:
    """Through the values of :class:`Watched`, from either end."""

    def __init__(self, trials: Watched) -> None:
        self._trials, self._values = trials, dict.values(trials)

    def __iter__(self) -> Iterator[Trial]:
        return self._trials.counted(self._values)

    def __reversed__(self) -> Iterator[Trial]:
        return self._trials.counted(reversed(self._values))


class Work:
    """Drives, and counts the functions that the driver's turns call."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.calls = simulation, 0
        self.driver = simulation.driver()
        self.driver.start()
        self.trials = self.driver.state.trials = Watched(self.driver.state.trials)

    def until(self, finished: int) -> float:
        """Drive until so many trials are over; returns the calls for each."""
        calls, before = self.calls, self.driver.state.finished
        while self.driver.state.finished < finished:
            sys.setprofile(self._count)
            try:
                pause = self.driver.step()
            finally:
                sys.setprofile(None)
            self.simulation.clock.sleep(pause)
        return (self.calls - calls) / (self.driver.state.finished - before)

    def _count(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += event in ("call", "c_call")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_work_for_a_trial_does_not_grow(root: Path, name: str) -> None:
    scheduler, tolerance = SCHEDULERS[name]
    work = Work(Simulation(root, num_samples=600, iterations=2, slots=10, scheduler=scheduler))
    work.until(50)  # with what is done once
    early, met = work.until(100), work.trials.met
    work.until(450)
    late = work.until(500)
    assert early > 100, "it does count"
    assert late < tolerance * early
    assert met > 0
    assert work.trials.met < 10 * 500, "nobody goes through all trials"
    work.driver.leave("enough")


def kept(driver: Driver, callbacks: list[Callback]) -> dict[str, int]:
    """The sizes of all that the parts of a driver hold by trial."""
    parts = [driver._runs, driver._jobs, driver._performer, driver._projector.trials, *callbacks]
    return {
        f"{type(part).__name__}.{name}": len(value)
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, Sized) and not isinstance(value, str)
    }


def test_of_a_trial_that_is_over_only_its_value_is_kept(root: Path) -> None:
    callbacks: list[Callback] = [JsonLoggerCallback(), CSVLoggerCallback()]
    work = Work(Simulation(root, num_samples=300, iterations=2, slots=10, callbacks=callbacks))
    work.until(250)
    sizes = kept(work.driver, callbacks)
    assert sizes["RunWatcher._tails"] > 0
    assert {name for name, size in sizes.items() if size > 60} == {"Trials._order"}, "ids, to be counted by"
    settled = [trial for trial in dict.values(work.trials) if trial.finalized]
    assert len(settled) >= 250
    assert all(isinstance(mapping, Packed) for t in settled for mapping in (t.config, t.evaluated, t.last))
    work.driver.leave("enough")


def test_who_looks_at_all_trials_leaves_nothing_behind(root: Path) -> None:
    work = Work(Simulation(root, num_samples=100, iterations=2, slots=10))
    work.until(80)
    trials = work.driver._projector.trials
    assert [trial.trial_id for trial in trials] == list(work.trials)
    assert len(trials._views) <= len(trials) - 80
    trials[0].statistics()  # from now on those who ask may ask again
    assert trials[1] is trials[1]
    work.driver.leave("enough")


def test_a_line_that_takes_long_is_made_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, made = itertools.count(), list[float]()

    def slow_line(state: ExperimentState, now: float, note: str) -> str:
        made.append(now)
        return ""

    monkeypatch.setattr(throttle, "perf_counter", lambda: float(next(seconds)))  # each takes a second
    monkeypatch.setattr(plain, "progress_line", slow_line)
    state = ExperimentState(ExperimentSpec("51a1a7ed", "exp", 0.0, "f"))
    shown = plain.PlainDisplay(io.StringIO(), line_s=10.0)
    for now in range(120):
        shown.update(state, (), "", float(now), done=False)
    assert made == [0.0, 51.0, 102.0]


@pytest.mark.nightly
def test_the_work_for_the_last_of_twenty_thousand_trials(root: Path) -> None:
    work = Work(Simulation(root, num_samples=20_000, iterations=2, slots=100))
    work.until(1000)
    early = work.until(2000)
    work.until(18_000)
    assert work.until(19_000) < 1.03 * early
    work.driver.leave("enough")
