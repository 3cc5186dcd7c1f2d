"""Drivers that die in the middle of a simulated experiment, and what must be true afterwards. For any scheduler."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.model import events as e
from hpctune.schedulers import SchedulerPolicy
from hpctune.storage import journal
from hpctune.testing.simulation import Simulation

MakeScheduler = Callable[[], SchedulerPolicy]


class Killed(BaseException):
    """What stands for a signal that no program can catch."""


def final(state: ExperimentState) -> dict[int, tuple[int, str]]:
    """How far each trial came, and why no farther."""
    return {trial.index: (trial.results, trial.reason) for trial in state.trials.values()}


def counted(sim: Simulation) -> dict[str, list[int]]:
    """The counted iterations of each trial."""
    rows: dict[str, list[int]] = {}
    for event in facts(sim):
        if isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
            rows.setdefault(event.run.trial_id, []).append(event.row["training_iteration"])
    return rows


def facts(sim: Simulation) -> Iterator[e.Event]:
    """The journal."""
    return (recorded.event for recorded in journal.read(sim.paths.journal))


def drivers(sim: Simulation) -> int:
    """How many there were."""
    return sum(isinstance(event, e.DriverStarted) for event in facts(sim))


def assert_nothing_ran_twice(sim: Simulation) -> None:
    """Every iteration of every trial was made once, by one run, and counted once."""
    for trial_id, iterations in counted(sim).items():
        assert iterations == list(range(1, len(iterations) + 1)), trial_id
    made: dict[str, list[int]] = {}
    for run in sim.cluster.history:
        made.setdefault(run.key.trial_id, []).extend(range(run.started_from + 1, run.iteration + 1))
    for trial_id, iterations in made.items():
        assert sorted(iterations) == list(range(1, len(iterations) + 1)), trial_id


def crash(driver: Driver) -> None:
    """The process is gone: nothing is flushed, nobody says goodbye; the system frees its locks."""
    os.close(driver._journal._fd)
    driver.lease._lock.release()


def run_with_crashes(sim: Simulation, scheduler: MakeScheduler, every: int) -> ExperimentState:
    """Drive to the end; the driver dies at each ``every``-th turn, and another one takes over with fresh policies."""
    turns = 0
    while True:
        driver = fresh(sim, scheduler)
        driver.start()
        while not driver.finished:
            turns += 1
            if turns % every == 0:
                crash(driver)
                break
            sim.clock.sleep(driver.step())
        else:
            driver.leave("finished")
            return driver.state


def run_with_deaths(sim: Simulation, scheduler: MakeScheduler, writes: Iterable[int]) -> ExperimentState:
    """As above, but the drivers die at their n-th write of the journal: by turns right before it and right after, when
    nothing has been done yet that follows from it. ``writes``: that n for one driver after the other."""
    for death, write in enumerate(writes):
        driver = fresh(sim, scheduler)
        driver.start()
        _die_at(driver, write, after=death % 2 == 1)
        try:
            while not driver.finished:
                sim.clock.sleep(driver.step())
        except Killed:
            crash(driver)
        else:
            del driver._journal.append  # the deadly one
            driver.leave("finished")
            return driver.state
    return run_with_crashes(sim, scheduler, every=10**9)


def fresh(sim: Simulation, scheduler: MakeScheduler) -> Driver:
    """A driver with a scheduler that knows nothing."""
    sim.setup.scheduler = scheduler()
    return sim.driver()


def _die_at(driver: Driver, write: int, *, after: bool) -> None:
    append, left = driver._journal.append, [write]

    def appends(*args: object, **kwargs: object) -> object:
        left[0] -= 1
        if left[0] == 0 and not after:
            raise Killed
        result = append(*args, **kwargs)  # type: ignore[arg-type]
        if left[0] == 0:
            raise Killed
        return result

    driver._journal.append = appends  # type: ignore[assignment, method-assign]
