"""Schedulers with the real driver over a simulated cluster: what is counted, what is stopped, and after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.schedulers import ASHAScheduler, MedianStoppingRule, SchedulerPolicy
from hpctune.storage import journal
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola

RUNGS = (1, 3, 9, 27, 81)
MakeScheduler = Callable[[], SchedulerPolicy]


def asha() -> ASHAScheduler:
    return ASHAScheduler(metric="loss", mode="min", max_t=81, reduction_factor=3)


def median() -> MedianStoppingRule:
    return MedianStoppingRule("training_iteration", "loss", "min", grace_period=5)


def simulation(root: Path, scheduler: MakeScheduler, trials: int = 200, **more: Any) -> Simulation:
    curve = more.pop("curve", Curve(metrics=hyperbola, iterations=100, checkpoint_every=1))
    return Simulation(root, num_samples=trials, slots=40, curve=curve, scheduler=scheduler, **more)


def final(state: ExperimentState) -> dict[int, tuple[int, str]]:
    """How far each trial came, and why no farther."""
    return {trial.index: (trial.results, trial.reason) for trial in state.trials.values()}


def counted(sim: Simulation) -> dict[str, list[int]]:
    """The counted iterations of each trial."""
    rows: dict[str, list[int]] = {}
    for recorded in journal.read(sim.paths.journal):
        event = recorded.event
        if isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
            rows.setdefault(event.run.trial_id, []).append(event.row["training_iteration"])
    return rows


def decisions(sim: Simulation) -> list[tuple[str, str]]:
    events = [recorded.event for recorded in journal.read(sim.paths.journal)]
    return [(event.trial_id, event.reason) for event in events if isinstance(event, e.StopRequested)]


def replayed(sim: Simulation, scheduler: SchedulerPolicy) -> list[tuple[str, str]]:
    """What a fresh scheduler decides when it is told the journal."""
    state, stops = ExperimentState(sim.spec), []
    policies = replace(sim.setup, scheduler=scheduler).policies(sim.spec, sim.spec.num_samples)
    for recorded in journal.read(sim.paths.journal):
        state.apply(recorded)
        answers = policies.feed(recorded.event, state)
        stops += [(a.trial_id, a.reason) for a in answers if isinstance(a, e.StopRequested)]
    return stops


def test_asha_counts_nothing_past_a_rung(tmp_path: Path) -> None:
    sim = simulation(tmp_path / "asha", asha)
    state = sim.run()
    assert len(state.trials) == 200
    assert all(trial.phase is Phase.TERMINATED for trial in state.trials.values())
    reached = [rows[-1] for rows in counted(sim).values()]
    assert len(reached) == 200
    assert set(reached) <= set(RUNGS)
    shares = [sum(r >= rung for r in reached) / 200 for rung in RUNGS]
    # About a third of each rung goes on to the next (Li et al., section 3.2), and more of the few that come first.
    assert shares == sorted(shares, reverse=True)
    assert shares[1] < 0.42
    assert shares[2] < 0.2
    assert shares[4] > 0
    stopped = set(decisions(sim))
    assert len(stopped) == 200  # at a rung, or at max_t
    best = min(state.trials.values(), key=lambda trial: trial.config["x"])
    assert best.results == 81


def crash(driver: Driver) -> None:
    """The process is gone: nothing is flushed, nobody says goodbye; the system frees its locks."""
    os.close(driver._journal._fd)
    driver.lease._lock.release()


def run_with_crashes(sim: Simulation, scheduler: MakeScheduler, every: int) -> ExperimentState:
    """Drive to the end; the driver dies at each ``every``-th turn, and another one takes over with fresh policies."""
    turns = 0
    while True:
        sim.setup.scheduler = scheduler()
        driver = sim.driver()
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


@pytest.mark.parametrize(("scheduler", "trials"), [(asha, 200), (median, 60)])
def test_a_crash_changes_no_decision(tmp_path: Path, scheduler: MakeScheduler, trials: int) -> None:
    quiet, crashing = (simulation(tmp_path / name, scheduler, trials) for name in ("quiet", "crashing"))
    expected = quiet.run()
    state = run_with_crashes(crashing, scheduler, every=50)
    drivers = sum(isinstance(r.event, e.DriverStarted) for r in journal.read(crashing.paths.journal))
    assert drivers > 2
    assert final(state) == final(expected)
    assert [stop[1] for stop in decisions(crashing)] == [stop[1] for stop in decisions(quiet)]


@pytest.mark.parametrize("scheduler", [asha, median])
def test_the_journal_replays_to_the_same_decisions(tmp_path: Path, scheduler: MakeScheduler) -> None:
    sim = simulation(
        tmp_path / "replay", scheduler, 80, curve=Curve(hyperbola, 100, lambda config: 40 + 50 * config["x"])
    )
    sim.run()
    assert decisions(sim)
    assert replayed(sim, scheduler()) == decisions(sim)


def test_restarts_are_not_counted_twice(tmp_path: Path) -> None:
    """Jobs are preempted over and over; their trials go on from checkpoints that lie before rungs."""
    sim = simulation(tmp_path / "exp", asha, 60, curve=Curve(hyperbola, 100, checkpoint_every=5))
    driver = sim.driver()
    driver.start()
    turn = 0
    while not driver.finished:
        sim.clock.sleep(max(driver.step(), 1.0))
        turn += 1
        running = [job for job, j in sim.cluster.jobs_by_id.items() if j.state.value == "RUNNING"]
        if turn % 10 == 0 and running and turn < 600:
            sim.cluster.requeue(running[turn % len(running)])
    driver.leave("finished")
    for rows in counted(sim).values():
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) in RUNGS
    scheduler = sim.setup.scheduler
    assert isinstance(scheduler, ASHAScheduler)
    first = scheduler._brackets[0].rungs[0]
    assert len(first.ranked) == 60


def test_a_metric_that_is_never_reported_ends_the_experiment(tmp_path: Path) -> None:
    """In good order: no driver that falls over, no job that is left."""

    def other(config: Mapping[str, Any], iteration: int) -> Mapping[str, Any]:
        return {"score": 1.0}

    misspelt = lambda: ASHAScheduler(metric="lss", mode="min", max_t=9)  # noqa: E731
    sim = simulation(tmp_path / "exp", misspelt, 50, curve=Curve(other, 20))
    sim.spec = replace(sim.spec, metric=None)
    state = sim.run()
    assert state.stopping is not None
    assert state.stopping.fatal
    assert "metric of AsyncHyperBandScheduler 'lss' was never reported" in state.stopping.reason
    assert all(job.state.final for job in sim.cluster.jobs_by_id.values())
