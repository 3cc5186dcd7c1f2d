"""Schedulers with the real driver over a simulated cluster: what is counted, what is stopped, and after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.react import NOT_RESUMED
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.schedulers import (
    ASHAPromotionScheduler,
    ASHAScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PASHAScheduler,
    SchedulerPolicy,
)
from hpctune.schedulers.hyperband import bracket_table
from hpctune.search import BasicVariantGenerator
from hpctune.space import uniform
from hpctune.storage import journal
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from tests.sim.crashes import (
    MakeScheduler,
    assert_nothing_ran_twice,
    counted,
    drivers,
    final,
    run_with_crashes,
    run_with_deaths,
)

RUNGS = (1, 3, 9, 27, 81)


def asha() -> ASHAScheduler:
    return ASHAScheduler(metric="loss", mode="min", max_t=81, reduction_factor=3)


def median() -> MedianStoppingRule:
    return MedianStoppingRule("training_iteration", "loss", "min", grace_period=5)


def median_pausing() -> MedianStoppingRule:
    return MedianStoppingRule("training_iteration", "loss", "min", grace_period=5, hard_stop=False, min_time_slice=8)


def hyperband() -> HyperBandScheduler:
    return HyperBandScheduler(metric="loss", mode="min", max_t=27)


def hb_bohb() -> HyperBandForBOHB:
    return HyperBandForBOHB(metric="loss", mode="min", max_t=27)


def promotion() -> ASHAPromotionScheduler:
    return ASHAPromotionScheduler(metric="loss", mode="min", max_t=27)


def pasha() -> PASHAScheduler:
    return PASHAScheduler(metric="loss", mode="min", max_t=27)


DECISIONS = (e.StopRequested, e.PauseRequested)
PAUSING = [hyperband, hb_bohb, promotion, pasha, median_pausing]


def simulation(root: Path, scheduler: MakeScheduler, trials: int = 200, **more: Any) -> Simulation:
    curve = more.pop("curve", Curve(metrics=hyperbola, iterations=100, checkpoint_every=1))
    return Simulation(root, num_samples=trials, slots=40, curve=curve, scheduler=scheduler, **more)


def decisions(sim: Simulation) -> list[tuple[str, str]]:
    events = [recorded.event for recorded in journal.read(sim.paths.journal)]
    return [(event.trial_id, event.reason) for event in events if isinstance(event, DECISIONS)]


def replayed(sim: Simulation, scheduler: SchedulerPolicy) -> list[tuple[str, str]]:
    """What a fresh scheduler decides when it is told the journal."""
    state, stops = ExperimentState(sim.spec), []
    policies = replace(sim.setup, scheduler=scheduler).policies(sim.spec, sim.spec.num_samples)
    for recorded in journal.read(sim.paths.journal):
        state.apply(recorded)
        answers = policies.feed(recorded.event, state)
        stops += [(a.trial_id, a.reason) for a in answers if isinstance(a, DECISIONS)]
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


@pytest.mark.parametrize(("scheduler", "trials"), [(asha, 200), (median, 60)])
def test_a_crash_changes_no_decision(tmp_path: Path, scheduler: MakeScheduler, trials: int) -> None:
    quiet, crashing = (simulation(tmp_path / name, scheduler, trials) for name in ("quiet", "crashing"))
    expected = quiet.run()
    state = run_with_crashes(crashing, scheduler, every=50)
    assert drivers(crashing) > 2
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


# -- schedulers that pause --------------------------------------------------------------------------------------------


def crossing(config: Mapping[str, Any], iteration: int) -> Mapping[str, Any]:
    """Losses whose order changes with time: the worst at first are the best at last."""
    return {"loss": config["x"] * (1 if iteration < 3 else -1) + 1.0 / iteration}


def pausing(root: Path, scheduler: MakeScheduler, **more: Any) -> Simulation:
    curve = more.pop("curve", Curve(metrics=crossing, iterations=30, saves=True))
    return Simulation(root, num_samples=60, slots=8, curve=curve, scheduler=scheduler, **more)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Mapping[MakeScheduler, tuple[Simulation, ExperimentState]]:
    """One undisturbed run of each."""
    made = {}
    for scheduler in PAUSING:
        sim = pausing(tmp_path_factory.mktemp("quiet") / scheduler.__name__, scheduler)
        made[scheduler] = (sim, sim.run())
    return made


Quiet = Mapping[MakeScheduler, tuple[Simulation, ExperimentState]]


@pytest.mark.parametrize("scheduler", PAUSING)
def test_pausing_runs_everything_once(scheduler: MakeScheduler, quiet: Quiet) -> None:
    sim, state = quiet[scheduler]
    assert len(state.trials) == 60
    assert all(trial.phase is Phase.TERMINATED for trial in state.trials.values())
    assert_nothing_ran_twice(sim)
    assert sum(trial.overruns for trial in state.trials.values()) == 0 or scheduler is median_pausing
    paused = [r.event for r in journal.read(sim.paths.journal) if isinstance(r.event, e.TrialPaused)]
    assert paused


def test_hyperband_keeps_to_its_brackets(quiet: Quiet) -> None:
    """60 trials fill the brackets of a round (4, 6, 12, 27), and 11 begin the next (4, 6, and 1 of 12)."""
    lengths = [len(rows) for rows in counted(quiet[hyperband][0]).values()]
    table = bracket_table(27, 3)
    assert [rungs[0].trials for rungs in table] == [4, 6, 12, 27]
    rounds = [rung for rungs in table for rung in rungs] + [rung for rungs in table[:2] for rung in rungs]
    to_the_end = sum(rung.trials for rung in rounds if rung.level == 27)
    assert lengths.count(27) == to_the_end + 1
    assert set(lengths) == {1, 3, 9, 27}
    assert lengths.count(1) == 27 - 9


@pytest.mark.parametrize("scheduler", PAUSING)
def test_crashes_change_no_decision_of_those_that_pause(tmp_path: Path, scheduler: MakeScheduler, quiet: Quiet) -> None:
    undisturbed, expected = quiet[scheduler]
    sim = pausing(tmp_path / "crashing", scheduler)
    state = run_with_crashes(sim, scheduler, every=17)
    assert drivers(sim) > 2
    assert final(state) == final(expected)
    assert sorted(decisions(sim)) == sorted(decisions(undisturbed))
    assert_nothing_ran_twice(sim)


@pytest.mark.parametrize("scheduler", [hyperband, pasha, asha])
def test_deaths_around_a_write_change_no_decision(tmp_path: Path, scheduler: MakeScheduler) -> None:
    undisturbed, sim = (pausing(tmp_path / name, scheduler) for name in ("quiet", "dying"))
    expected = undisturbed.run()
    state = run_with_deaths(sim, scheduler, [1 + (7 * n) % 12 for n in range(40)])
    assert drivers(sim) > 10
    assert final(state) == final(expected)
    assert_nothing_ran_twice(sim)


@pytest.mark.parametrize("scheduler", PAUSING)
def test_those_that_pause_replay_to_the_same_decisions(tmp_path: Path, scheduler: MakeScheduler, quiet: Quiet) -> None:
    """Of trials that take their time, fail, and are tried again."""
    seconds, fails_at = (lambda c: 40 + 50 * c["x"]), (lambda c: 1 if c["x"] > 0.95 else 5 if c["x"] < 0.3 else None)
    curve = Curve(crossing, 30, seconds, saves=True, fails_at=fails_at)
    sim = pausing(tmp_path / "replay", scheduler, curve=curve)
    state = sim.run()
    assert {trial.phase for trial in state.trials.values()} == {Phase.TERMINATED, Phase.ERROR}
    for one in (sim, quiet[scheduler][0]):
        decided = [pair for pair in decisions(one) if pair[1] != "its scheduler does not resume it"]
        assert len(decided) >= 40
        assert replayed(one, scheduler()) == decided


@pytest.mark.parametrize("scheduler", PAUSING)
def test_a_searcher_that_waits_for_paused_trials_stops_nothing(tmp_path: Path, scheduler: MakeScheduler) -> None:
    sim = pausing(tmp_path / "limited", scheduler)
    limited = BasicVariantGenerator(max_concurrent=4)
    sim.setup.bind_search = lambda n, seed: limited.bind({"x": uniform(0.0, 1.0)}, n, seed)
    state = sim.run()
    assert len(state.trials) == 60
    assert all(trial.phase is Phase.TERMINATED for trial in state.trials.values())
    assert_nothing_ran_twice(sim)


@pytest.mark.parametrize("scheduler", PAUSING)
def test_trials_without_checkpoints_begin_anew(tmp_path: Path, scheduler: MakeScheduler) -> None:
    """They lose time, and nothing else: what they report again counts nowhere."""
    sim = pausing(tmp_path / "anew", scheduler, curve=Curve(crossing, 30))
    state = sim.run()
    assert all(trial.phase is Phase.TERMINATED for trial in state.trials.values())
    for iterations in counted(sim).values():
        assert iterations == list(range(1, len(iterations) + 1))
    assert max(run.iteration for run in sim.cluster.history if run.started_from == 0) > 1


@pytest.mark.parametrize("scheduler", [hyperband, promotion, pasha])
def test_trials_wait_while_no_driver_is_there(tmp_path: Path, scheduler: MakeScheduler, quiet: Quiet) -> None:
    """A driver that is away for hours: each trial leaves its job at its rung, and goes on from there later."""
    sim = pausing(tmp_path / "away", scheduler)
    driver = sim.driver()
    driver.start()
    for turn in range(100_000):
        if driver.finished:
            break
        wait = driver.step()
        if turn in (3, 40, 120):
            left = sim.cluster.running
            sim.clock.sleep(6 * 3600.0)
            assert sim.cluster.running < max(left, 1)
        else:
            sim.clock.sleep(wait)
    driver.leave("finished")
    assert_nothing_ran_twice(sim)
    lengths = {len(rows) for rows in counted(sim).values()}
    assert lengths <= {1, 3, 9, 27}
    assert len(driver.state.trials) == 60
    if scheduler is hyperband:  # its decisions depend on no order
        assert final(driver.state) == final(quiet[scheduler][1])


@pytest.mark.parametrize("scheduler", [promotion, pasha])
def test_those_that_can_never_go_on_end_early_and_nothing_else_changes(
    tmp_path: Path, scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = simulation(tmp_path / "early", scheduler, 60)
    ended = final(early.run())
    monkeypatch.setattr(ASHAPromotionScheduler, "never_resumed", lambda self, active: ())
    late = simulation(tmp_path / "late", scheduler, 60)
    assert final(late.run()) == ended

    def stops_before_the_last_result(sim: Simulation) -> int:
        events = [recorded.event for recorded in journal.read(sim.paths.journal)]
        last = max(n for n, event in enumerate(events) if isinstance(event, e.ResultReported))
        return sum(isinstance(x, e.StopRequested) and x.reason == NOT_RESUMED for x in events[:last])

    assert stops_before_the_last_result(early) > 20
    assert stops_before_the_last_result(late) == 0
