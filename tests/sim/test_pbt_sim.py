"""Population based training with the real driver over a simulated cluster: what is decided, and after crashes."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from crashes import Killed, MakeScheduler, crash, drivers, facts, fresh, run_with_crashes

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import Phase
from hpctune.schedulers import PB2, PopulationBasedTraining, PopulationBasedTrainingReplay
from hpctune.space import uniform
from hpctune.storage import control_file
from hpctune.storage.journal import Journal
from hpctune.testing.simulated import Curve, SimulatedCluster
from hpctune.testing.simulation import Simulation

LENGTH, INTERVAL = 32, 5
"""The end is no evaluation."""
COMMON: dict[str, Any] = {
    "time_attr": "training_iteration", "metric": "loss", "mode": "min", "perturbation_interval": INTERVAL,
}  # fmt: skip


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where possible: simulated workers make every exit record durable, as real ones do."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="hpctune-sim-", dir=memory) as directory:
        yield Path(directory)


def asynchronous() -> PopulationBasedTraining:
    return PopulationBasedTraining(**COMMON, hyperparam_mutations={"x": uniform(0, 1), "batch": [8, 16, 32]})


def synchronous() -> PopulationBasedTraining:
    return PopulationBasedTraining(**COMMON, hyperparam_mutations={"x": uniform(0, 1), "batch": [8, 16]}, synch=True)


def bandits() -> PB2:
    return PB2(**COMMON, hyperparam_bounds={"x": [0.0, 1.0]}, quantile_fraction=0.5, synch=True)


def curve(config: Mapping[str, Any], iteration: int) -> Mapping[str, float]:
    return {"loss": abs(config["x"] - 0.7) + 1.0 / iteration}


def simulation(root: Path, scheduler: MakeScheduler, trials: int = 12, slots: int = 12, **more: Any) -> Simulation:
    """A population whose trials save at every interval; only one checkpoint of each is kept."""
    shape = Curve(curve, LENGTH, lambda config: 20 + 60 * config["x"], checkpoint_every=INTERVAL, saves=True)
    policy = CheckpointPolicy(keep=1)
    return Simulation(
        root,
        num_samples=trials,
        slots=slots,
        curve=more.pop("curve", shape),
        scheduler=scheduler,
        checkpoint=policy,
        **more,
    )


def run_with_deaths_anywhere(
    sim: Simulation, scheduler: MakeScheduler, every: int, monkeypatch: pytest.MonkeyPatch
) -> ExperimentState:
    """Drive to the end; a driver dies right after each ``every``-th effect of all of them: a line of the journal, a
    control file, a submission, a cancellation."""
    effects = 0

    def deadly(kind: object, name: str) -> None:
        real = getattr(kind, name)

        def act(*arguments: object, **named: object) -> object:
            nonlocal effects
            done = real(*arguments, **named)
            effects += 1
            if effects % every == 0:
                raise Killed
            return done

        monkeypatch.setattr(kind, name, act)

    for kind, name in ((Journal, "append"), (control_file, "publish"), (SimulatedCluster, "submit")):
        deadly(kind, name)
    deadly(SimulatedCluster, "cancel")
    for _ in range(20_000):
        driver = fresh(sim, scheduler)
        try:
            driver.start()
        except Killed:
            continue  # what it held is closed already
        try:
            while not driver.finished:
                sim.clock.sleep(driver.step())
        except Killed:
            crash(driver)
        else:
            with suppress(Killed):
                driver.leave("finished")
            return driver.state
    raise AssertionError("it never ends")


def exploits(sim: Simulation) -> list[e.ExploitRequested]:
    return [event for event in facts(sim) if isinstance(event, e.ExploitRequested)]


def decided(sim: Simulation) -> dict[str, list[tuple[str, int, Any, str]]]:
    """The exploits of each trial."""
    found: dict[str, list[tuple[str, int, Any, str]]] = defaultdict(list)
    for event in exploits(sim):
        found[event.trial_id].append((event.donor, event.iteration, event.config, event.reason))
    return found


def replayed(sim: Simulation, scheduler: MakeScheduler) -> list[e.Event]:
    """What a fresh scheduler decides when it is told the journal."""
    state, found = ExperimentState(sim.spec), list[e.Event]()
    policies = replace(sim.setup, scheduler=scheduler()).policies(sim.spec, sim.spec.num_samples)
    for event in facts(sim):
        state.apply(e.Recorded(0.0, event))
        found += [a for a in policies.feed(event, state) if isinstance(a, (e.ExploitRequested, e.PauseRequested))]
    return found


def nothing_twice(sim: Simulation) -> None:
    """Each counted result follows the one before, or the checkpoint that was taken over."""
    reached: dict[str, int] = defaultdict(int)
    for event in facts(sim):
        if isinstance(event, e.ExploitRequested):
            reached[event.trial_id] = event.iteration
        elif isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
            trial_id, iteration = event.run.trial_id, event.row["training_iteration"]
            assert iteration == reached[trial_id] + 1
            reached[trial_id] = iteration
    assert set(reached.values()) == {LENGTH}
    keys = [run.key for run in sim.cluster.history]
    assert len(keys) == len(set(keys))


def ended_well(state: ExperimentState, trials: int) -> None:
    assert [t.phase for t in state.trials.values()] == [Phase.TERMINATED] * trials
    assert {t.last["training_iteration"] for t in state.trials.values()} == {LENGTH}
    assert all(t.finalized for t in state.trials.values())


def log_matches(sim: Simulation) -> None:
    """The policy log says what the journal says, whoever wrote it."""
    lines = [json.loads(line) for line in (sim.paths.root / "pbt_global.txt").read_text().splitlines()]
    made = exploits(sim)
    assert [line[5] for line in lines] == [event.config for event in made]
    assert [line[3] for line in lines] == [event.iteration for event in made]
    for event in made[-3:]:
        schedule = (sim.paths.root / f"pbt_policy_{event.trial_id}.txt").read_text().splitlines()
        mine = [other for other in made if other.trial_id == event.trial_id]
        assert json.loads(schedule[-1])[5] == mine[-1].config
        assert len(schedule) == len(set(schedule))


@pytest.mark.parametrize("scheduler", [asynchronous, synchronous, bandits])
@pytest.mark.parametrize("slots", [12, 3])
def test_the_bad_take_over_from_the_good(tmp_path: Path, scheduler: MakeScheduler, slots: int) -> None:
    sim = simulation(tmp_path / "exp", scheduler, slots=slots)
    state = sim.run()
    ended_well(state, 12)
    nothing_twice(sim)
    made = exploits(sim)
    assert len(made) >= 6
    assert all(event.iteration % INTERVAL == 0 for event in made)
    starts = {event.trial_id: event.config["x"] for event in facts(sim) if isinstance(event, e.TrialAdded)}
    assert sum(abs(t.config["x"] - 0.7) for t in state.trials.values()) < sum(abs(x - 0.7) for x in starts.values())
    assert all(t.evaluated["x"] == t.config["x"] for t in state.trials.values())
    assert [a for a in replayed(sim, scheduler) if isinstance(a, e.ExploitRequested)] == made
    log_matches(sim)


def test_many_trials_share_few_places(tmp_path: Path) -> None:
    """Nobody runs to the end while others have not begun; where there is room for all, nobody pauses."""
    crowded = simulation(tmp_path / "crowded", asynchronous, trials=8, slots=2)
    crowded.run()
    counts: dict[str, int] = defaultdict(int)
    for event in facts(crowded):
        if isinstance(event, e.ResultReported):
            counts[event.run.trial_id] += 1
            assert len(counts) == 8 or max(counts.values()) <= 2 * INTERVAL
    roomy = simulation(tmp_path / "roomy", asynchronous, trials=8, slots=8)
    roomy.run()
    assert not any(isinstance(event, e.PauseRequested) for event in facts(roomy))


def test_synchronous_trials_decide_together(tmp_path: Path) -> None:
    sim = simulation(tmp_path / "exp", synchronous, trials=10, slots=4)
    sim.run()
    arrived: dict[str, int] = defaultdict(int)
    for event in facts(sim):
        if isinstance(event, e.ResultReported):
            arrived[event.run.trial_id] = event.row["training_iteration"]
        elif isinstance(event, e.ExploitRequested):
            assert len({time // INTERVAL for time in arrived.values()}) == 1
            arrived[event.trial_id] = event.iteration
    assert len(exploits(sim)) >= 2 * (LENGTH // INTERVAL - 1)


@pytest.mark.parametrize(
    ("scheduler", "every"),
    [*((scheduler, every) for scheduler in (asynchronous, synchronous) for every in (3, 7, 20, 61)), (bandits, 47)],
)
def test_a_crash_between_turns_changes_no_decision(tmp_path: Path, scheduler: MakeScheduler, every: int) -> None:
    quiet, crashing = (simulation(tmp_path / name, scheduler, 8, 4) for name in ("quiet", "crashing"))
    expected = quiet.run()
    state = run_with_crashes(crashing, scheduler, every)
    assert drivers(crashing) > 2
    ended_well(state, 8)
    nothing_twice(crashing)
    assert decided(crashing) == decided(quiet)
    assert [t.config for t in state.trials.values()] == [t.config for t in expected.trials.values()]
    log_matches(crashing)


@pytest.mark.parametrize("every", [13, 23, 41])
@pytest.mark.parametrize("scheduler", [asynchronous, synchronous])
def test_a_crash_anywhere(
    tmp_path: Path, scheduler: MakeScheduler, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synchronous decisions do not depend on who comes first: they are the same although crashes delay some trials."""
    quiet, crashing = (simulation(tmp_path / name, scheduler, 8, 4) for name in ("quiet", "crashing"))
    quiet.run()
    state = run_with_deaths_anywhere(crashing, scheduler, every, monkeypatch)
    assert drivers(crashing) > 4
    ended_well(state, 8)
    nothing_twice(crashing)
    log_matches(crashing)
    assert [a for a in replayed(crashing, scheduler) if isinstance(a, e.ExploitRequested)] == exploits(crashing)
    if scheduler is not asynchronous:
        assert decided(crashing) == decided(quiet)


@pytest.mark.parametrize("every", [0, 7, 10])
def test_a_replay_follows_the_schedule(tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = simulation(tmp_path / "first", asynchronous)
    first.run()
    schedules = {path: path.read_text().splitlines() for path in first.paths.root.glob("pbt_policy_*.txt")}
    path = max(schedules, key=lambda p: len(schedules[p]))
    steps = [json.loads(line) for line in schedules[path]]
    assert len(steps) > 1

    def scheduler() -> PopulationBasedTrainingReplay:
        return PopulationBasedTrainingReplay(path)

    again = simulation(tmp_path / "again", scheduler, trials=1, slots=1)
    state = run_with_deaths_anywhere(again, scheduler, every, monkeypatch) if every else again.run()
    ended_well(state, 1)
    nothing_twice(again)
    added = next(event for event in facts(again) if isinstance(event, e.TrialAdded))
    assert added.config == steps[0][4]
    assert [(event.iteration, event.config) for event in exploits(again)] == [(step[3], step[5]) for step in steps]
    assert not (again.paths.root / "pbt_global.txt").exists()


def test_trials_that_fail_are_waited_for_no_longer(tmp_path: Path) -> None:
    shape = Curve(curve, LENGTH, checkpoint_every=INTERVAL, saves=True, fails_at=lambda c: 13 if c["x"] > 0.6 else None)
    sim = simulation(tmp_path / "exp", synchronous, trials=10, slots=5, curve=shape)
    sim.spec = replace(sim.spec, max_failures=0)
    state = sim.run()
    assert 0 < state.phases[Phase.ERROR] < 10
    assert state.phases[Phase.ERROR] + state.phases[Phase.TERMINATED] == 10
    lengths = {t.last["training_iteration"] for t in state.trials.values() if t.phase is Phase.TERMINATED}
    assert lengths == {LENGTH}


def test_a_result_without_the_metric_is_an_error(tmp_path: Path) -> None:
    shape = Curve(lambda config, iteration: {"score": 1.0}, LENGTH)
    sim = simulation(tmp_path / "exp", asynchronous, trials=4, slots=4, curve=shape)
    sim.spec = replace(sim.spec, metric=None)
    state = sim.run()
    assert state.stopping is not None
    assert state.stopping.fatal
    assert "needs its metric in every result, unless require_attrs=False, but 'loss'" in state.stopping.reason
