"""Whole experiments in simulated time: the real driver, journal and files; big ones too."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.resume import ResumeChoice
from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.model import events as e
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.base import FIFOScheduler
from hpctune.stopper import Stopper
from hpctune.storage import journal, run_file
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import ITERATION_FILE, Curve
from hpctune.testing.simulation import Simulation, hyperbola


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where possible: simulated workers make every exit record durable, as real ones do."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="hpctune-sim-", dir=memory) as directory:
        yield Path(directory)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "exp"


def recorded(simulation: Simulation) -> list[e.Recorded]:
    return list(journal.read(simulation.paths.journal))


def all_done(state: ExperimentState, trials: int, results: int) -> None:
    """Every trial has ended in good order with every result counted once."""
    assert len(state.trials) == state.phases[Phase.TERMINATED] == trials
    assert {t.results for t in state.trials.values()} == {results}
    assert all(t.finalized for t in state.trials.values())
    assert not state.active


def iterations(simulation: Simulation) -> dict[str, list[int]]:
    """The counted iterations of each trial, in order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row in read_experiment(simulation.paths.root, with_rows=True).rows:
        rows[row.trial_id].append(row.row["training_iteration"])
    return rows


class Moments:
    """Steps a driver and keeps what was true after each step."""

    def __init__(self, simulation: Simulation, look: Callable[[Driver], Any] = lambda driver: None) -> None:
        self.simulation, self.seen = simulation, list[Any]()
        self._look = look

    def drive(self, driver: Driver, until: Callable[[Driver], bool] = lambda driver: driver.finished) -> Driver:
        for _ in range(20_000):
            pause = driver.step()
            self.seen.append(self._look(driver))
            if until(driver):
                return driver
            if pause:
                self.simulation.clock.sleep(pause)
        raise AssertionError("it never ends")


def started(simulation: Simulation, *resume: Any) -> Driver:
    driver = simulation.driver()
    driver.start(*resume)
    return driver


# -- size -----------------------------------------------------------------------------------------------------------


def test_two_thousand_trials(root: Path) -> None:
    simulation = Simulation(root, num_samples=2000, iterations=10, slots=100)
    all_done(simulation.run(), 2000, 10)
    counted = Counter(r.event.run.trial_id for r in recorded(simulation) if isinstance(r.event, e.ResultReported))
    assert set(counted.values()) == {10}
    left = [p for p in root.rglob("*") if p.name == "control.json" or p.name.startswith("run-")]
    assert left == []
    # 20 batches of 100 at 10 simulated minutes each, and not much more
    assert 12_000 <= simulation.simulated_s <= 18_000


@pytest.mark.nightly
def test_ten_thousand_trials_in_a_minute_of_cpu(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = Simulation(root, num_samples=10_000, iterations=10, slots=100)
    began = time.process_time()
    state = simulation.run()
    spent = time.process_time() - began
    all_done(state, 10_000, 10)
    with capsys.disabled():
        print(f"\n10,000 trials x 10 results: {spent:.1f} s of CPU, {1e6 * spent / 100_000:.0f} us a result")
    assert spent < 60


def test_a_step_costs_by_what_is_active_not_by_what_has_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: files opened, and trials looked at, per step; early and late in a long experiment."""
    opened, looked = Counter[str](), Counter[str]()
    simulation = Simulation(root, num_samples=400, iterations=4, slots=10)
    read, active = run_file.RunTail.read, ExperimentState.active_trials

    def counted_read(self: run_file.RunTail, some: bool = False) -> Any:
        opened["run files"] += 1
        return read(self, some)

    def counted_active(self: ExperimentState) -> Iterator[Trial]:
        for trial in active(self):
            looked["trials"] += 1
            yield trial

    monkeypatch.setattr(run_file.RunTail, "read", counted_read)
    monkeypatch.setattr(ExperimentState, "active_trials", counted_active)

    def cost(driver: Driver) -> tuple[int, int, int]:
        now = (driver.state.finished, opened.total(), looked.total())
        opened.clear()
        looked.clear()
        return now

    moments = Moments(simulation, cost)
    moments.drive(started(simulation)).leave("finished")
    early = [c for c in moments.seen if 50 <= c[0] < 150]
    late = [c for c in moments.seen if 250 <= c[0] < 350]
    for kind in (1, 2):
        worst = max(c[kind] for c in early)
        assert worst > 0
        assert max(c[kind] for c in late) <= 1.2 * worst


# -- queues, limits, budgets ----------------------------------------------------------------------------------------


def test_jobs_that_wait_for_hours(root: Path) -> None:
    simulation = Simulation(root, num_samples=20, iterations=5, slots=5, queue_wait_s=3 * 3600.0)
    all_done(simulation.run(), 20, 5)
    assert {t.attempts for t in simulation_trials(simulation)} == {1}, "waiting is no reason to submit again"
    assert simulation.cluster.submissions == 20


def simulation_trials(simulation: Simulation) -> Sequence[Trial]:
    return list(read_experiment(simulation.paths.root).state.trials.values())


def test_no_more_than_max_concurrent_at_any_moment(root: Path) -> None:
    simulation = Simulation(root, num_samples=40, iterations=3, slots=100, max_concurrent=7)
    moments = Moments(simulation, lambda driver: (driver.state.live, simulation.cluster.unended))
    driver = moments.drive(started(simulation))
    driver.leave("finished")
    all_done(driver.state, 40, 3)
    assert max(live for live, _ in moments.seen) == 7
    now = ExperimentState(simulation.spec)
    for one in recorded(simulation):
        now.apply(one)
        assert now.live <= 7


def test_a_time_budget(root: Path) -> None:
    simulation = Simulation(root, num_samples=500, iterations=10, slots=4, time_budget_s=1800.0)
    state = simulation.run()
    assert state.ended == "time budget of 1800 s used up"
    assert all(t.phase is Phase.TERMINATED and t.finalized for t in state.trials.values())
    assert 8 <= len(state.trials) < 30
    assert 1800 <= simulation.simulated_s < 1800 + 300
    overrun = [r for r in recorded(simulation) if isinstance(r.event, e.ResultReported) and r.at > 1800 + 1.7e9]
    assert all(r.event.verdict is not e.Verdict.COUNTED for r in overrun if r.at > simulation.clock.now())  # type: ignore[union-attr]


def test_a_time_budget_counts_driven_time_over_all_drivers(root: Path) -> None:
    simulation = Simulation(root, num_samples=500, iterations=10, slots=4, time_budget_s=1800.0)
    driver = started(simulation)
    Moments(simulation).drive(driver, lambda d: simulation.simulated_s >= 900)
    driver.leave("enough for today")
    simulation.clock.sleep(24 * 3600.0)
    driver = started(simulation)
    assert driver.state.driven_s == pytest.approx(900, abs=60)
    began = simulation.clock.now()
    Moments(simulation).drive(driver).leave("finished")
    assert 850 <= simulation.clock.now() - began <= 1200


class AllAfter(Stopper):
    """Ends everything after so many results."""

    def __init__(self, results: int) -> None:
        self.left = results

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        self.left -= 1
        return False

    def stop_all(self) -> bool:
        return self.left <= 0


def test_a_stopper_that_stops_all_ends_an_endless_search(root: Path) -> None:
    simulation = Simulation(root, num_samples=-1, iterations=10, slots=6, stopper=AllAfter(100))
    state = simulation.run()
    assert state.ended == "stopper AllAfter stopped all"
    assert 100 <= sum(t.results for t in state.trials.values()) < 100 + 6, "what was reported later does not count"
    assert all(t.phase is Phase.TERMINATED for t in state.trials.values())
    assert simulation.cluster.unended == 0


class EachAfter(Stopper):
    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return bool(result["training_iteration"] >= 2)

    def stop_all(self) -> bool:
        return False


def test_an_endless_search_with_stops_and_a_budget(root: Path) -> None:
    simulation = Simulation(
        root, num_samples=-1, iterations=1000, slots=3, stopper=EachAfter(), time_budget_s=3600.0, max_concurrent=3
    )
    state = simulation.run()
    done = [t for t in state.trials.values() if t.reason == "stopper EachAfter"]
    assert len(done) >= 15
    assert {t.results for t in done} == {2}
    assert all(t.overruns <= 1 for t in done), "the stop takes effect at the next report"


def test_stop_criteria_are_exact(root: Path) -> None:
    simulation = Simulation(root, num_samples=5, iterations=50, criteria={"training_iteration": 4})
    all_done(simulation.run(), 5, 4)


# -- failures -------------------------------------------------------------------------------------------------------


def failing(at: int, when: Callable[[float], bool], **curve: Any) -> Curve:
    return Curve(metrics=hyperbola, iterations=6, fails_at=lambda c: at if when(c["x"]) else None, **curve)


def test_fail_fast(root: Path) -> None:
    simulation = Simulation(
        root, num_samples=50, slots=2, curve=failing(2, lambda x: x > 0.7), fail_fast="stop", max_concurrent=2
    )
    state = simulation.run()
    assert state.phases[Phase.ERROR] in (1, 2)
    assert state.ended is not None
    assert state.ended.startswith("fail_fast: trial simulated_")
    assert len(state.trials) < 50
    assert all(t.finalized for t in state.trials.values())


def test_retries_go_on_from_checkpoints(root: Path) -> None:
    """A trial that fails at iteration 5 every time, with checkpoints at 2 and 4."""
    simulation = Simulation(
        root, num_samples=12, slots=3, curve=failing(5, lambda x: x > 0.5, checkpoint_every=2), max_failures=3
    )
    state = simulation.run()
    failed = [t for t in state.trials.values() if t.phase is Phase.ERROR]
    fine = [t for t in state.trials.values() if t.phase is Phase.TERMINATED]
    assert failed
    assert fine
    assert {(t.attempts, t.failures, t.results) for t in failed} == {(4, 3, 4)}
    assert {(t.attempts, t.failures, t.results) for t in fine} == {(1, 0, 6)}
    starts = defaultdict(list)
    for run in simulation.cluster.history:
        starts[run.key.trial_id].append(run.started_from)
    assert {tuple(starts[t.trial_id]) for t in failed} == {(0, 4, 4, 4)}
    counted = iterations(simulation)
    assert all(counted[t.trial_id] == [1, 2, 3, 4] for t in failed)


def test_retention_never_deletes_what_is_in_use(root: Path) -> None:
    curve = failing(5, lambda x: True, checkpoint_every=1)
    keep = CheckpointPolicy(keep=2, score_attribute="loss", score_order="min")
    simulation = Simulation(root, num_samples=4, slots=2, curve=curve, max_failures=2, checkpoint=keep)

    def all_there(driver: Driver) -> None:
        for trial in driver.state.trials.values():
            if trial.attempt is not None and trial.attempt.restore is not None:
                assert (root / trial.attempt.restore / ITERATION_FILE).is_file()
            for ref in trial.checkpoints:
                assert (root / trial.dirname / ref.name).is_dir()

    moments = Moments(simulation, all_there)
    moments.drive(started(simulation)).leave("finished")
    for trial in simulation_trials(simulation):
        on_disk = sorted(p.name for p in (root / trial.dirname).glob("checkpoint_*"))
        assert on_disk == sorted(c.name for c in trial.checkpoints)
        assert 1 <= len(on_disk) <= 3
        assert trial.newest_checkpoint is not None
        assert trial.newest_checkpoint.iteration == 4


# -- pauses ---------------------------------------------------------------------------------------------------------


class Rungs(FIFOScheduler):
    """Pauses every trial at iteration 2, goes on with the better half, one at a time, and stops the rest."""

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}
        self.promoted: set[str] = set()

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        if row["training_iteration"] == 2:
            self.scores[trial.trial_id] = row["loss"]
            return Pause("rung 1")
        return Stop("top") if row["training_iteration"] >= 4 else CONTINUE

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        fresh = [t for t in waiting if t.phase is Phase.PENDING]
        if fresh:
            return fresh[0].trial_id
        best = sorted(self.scores, key=lambda i: self.scores[i])[:4] if len(self.scores) == 8 else []
        return next((t.trial_id for t in waiting if t.trial_id in best), None)


def test_paused_trials_free_their_jobs_and_go_on_from_their_checkpoints(root: Path) -> None:
    curve = Curve(metrics=hyperbola, iterations=20, checkpoint_every=1)
    simulation = Simulation(root, num_samples=8, slots=3, curve=curve, scheduler=Rungs, max_concurrent=3)
    driver = started(simulation)
    Moments(simulation).drive(driver).leave("finished")
    trials = driver.state.trials.values()
    paused = [t for t in trials if t.reason == "its scheduler does not resume it"]
    done = [t for t in trials if t.reason == "top"]
    assert (len(paused), len(done)) == (4, 4)
    assert {t.phase for t in trials} == {Phase.TERMINATED}
    assert {t.results for t in paused} == {3}, "a pause takes effect at the next report, which counts"
    assert {t.results for t in done} == {4}
    assert all(iterations(simulation)[t.trial_id] == [1, 2, 3, 4] for t in done), "none is lost by a pause"
    assert max(t.config["x"] for t in done) < min(t.config["x"] for t in paused)
    assert simulation.cluster.unended == 0
    starts = defaultdict(list)
    for run in simulation.cluster.history:
        starts[run.key.trial_id].append(run.started_from)
    assert all(len(starts[t.trial_id]) == 2 and starts[t.trial_id][1] >= 2 for t in done)


# -- away and back --------------------------------------------------------------------------------------------------


def outcome(state: ExperimentState) -> list[tuple[Any, ...]]:
    return [(t.trial_id, dict(t.config), t.results, dict(t.last), t.phase) for t in state.trials.values()]


def test_leaving_and_resuming_with_more_samples_equals_one_long_run(tmp_path: Path) -> None:
    whole = Simulation(tmp_path / "whole", num_samples=30, iterations=4, slots=4, seed=7).run()
    simulation = Simulation(tmp_path / "parts", num_samples=10, iterations=4, slots=4, seed=7)
    driver = started(simulation)
    Moments(simulation).drive(driver, lambda d: d.state.finished >= 5)
    driver.leave("told to")
    simulation.clock.sleep(3600.0)
    driver = started(simulation, None, 20)
    assert driver.state.num_samples == 20
    Moments(simulation).drive(driver).leave("finished")
    assert len(driver.state.trials) == 20
    driver = started(simulation, None, 30)
    assert not driver.finished
    Moments(simulation).drive(driver).leave("finished")
    assert outcome(driver.state) == outcome(whole)
    assert all(i == [1, 2, 3, 4] for i in iterations(simulation).values())
    assert {t.attempts for t in driver.state.trials.values()} == {1}, "jobs were adopted"
    driver = started(simulation)
    assert driver.state.num_samples == 30, "a resume that says nothing keeps what was wanted"
    assert Moments(simulation).drive(driver).state.ended == "all trials are done"
    driver.leave("finished")


@pytest.mark.parametrize("how", ["skip", "resume", "restart"])
def test_what_a_resume_does_with_errored_trials(root: Path, how: str) -> None:
    broken = [True]
    curve = Curve(
        metrics=hyperbola, iterations=6, checkpoint_every=2,
        fails_at=lambda c: 5 if broken and c["x"] > 0.5 else None,
    )  # fmt: skip
    simulation = Simulation(root, num_samples=8, slots=4, curve=curve)
    first = simulation.run()
    errored = [t.trial_id for t in first.trials.values() if t.phase is Phase.ERROR]
    assert 0 < len(errored) < 8
    broken.clear()
    before = len(simulation.cluster.history)
    driver = started(simulation, ResumeChoice(errored=how))
    Moments(simulation).drive(driver).leave("finished")
    after = simulation.cluster.history[before:]
    if how == "skip":
        assert after == []
        assert driver.state.phases[Phase.ERROR] == len(errored)
        return
    assert sorted(run.key.trial_id for run in after) == errored
    assert {run.started_from for run in after} == {4 if how == "resume" else 0}
    all_done(driver.state, 8, 6)
    assert all(i == [1, 2, 3, 4, 5, 6] for i in iterations(simulation).values())


@pytest.mark.parametrize("how", ["skip", "restart"])
def test_what_a_resume_does_with_unfinished_trials(root: Path, how: str) -> None:
    simulation = Simulation(root, num_samples=4, iterations=10, slots=4)
    driver = started(simulation)
    Moments(simulation).drive(driver, lambda d: all(t.results >= 3 for t in d.state.trials.values()) and d.state.live)
    driver.leave("told to")
    driver = started(simulation, ResumeChoice(unfinished=how))
    Moments(simulation).drive(driver).leave("finished")
    if how == "skip":
        assert {t.reason for t in driver.state.trials.values()} == {"skipped on resume"}
    else:
        all_done(driver.state, 4, 10)
        assert {t.attempts for t in driver.state.trials.values()} == {2}
        assert all(i == list(range(1, 11)) for i in iterations(simulation).values())


def test_an_hour_of_outage_costs_nothing_but_time(root: Path) -> None:
    simulation = Simulation(root, num_samples=60, iterations=20, slots=10)
    driver = started(simulation)
    moments = Moments(simulation, lambda d: d.note)
    moments.drive(driver, lambda d: d.state.finished >= 3)
    simulation.cluster.outage = True
    began, results = simulation.clock.now(), sum(t.results for t in driver.state.trials.values())
    moments.drive(driver, lambda d: simulation.clock.now() >= began + 3600)
    assert any("Unable to contact slurm controller" in note for note in moments.seen)
    assert sum(t.results for t in driver.state.trials.values()) > results, "results come all the same"
    simulation.cluster.outage = False
    moments.drive(driver).leave("finished")
    all_done(driver.state, 60, 20)
    assert moments.seen[-1] == ""
    assert all(i == list(range(1, 21)) for i in iterations(simulation).values())
    doubled = [t for t in driver.state.trials.values() if t.attempts > 1 + simulation.cluster.lost_submissions]
    assert doubled == []


def test_leaving_by_request_is_in_good_order(root: Path) -> None:
    simulation = Simulation(root, num_samples=20, iterations=5, slots=2)
    driver, leave = started(simulation), LeaveRequest()
    simulation.clock.after(700.0, lambda: setattr(leave, "reason", "SIGTERM"))
    drive([driver], simulation.clock, leave)
    last = recorded(simulation)[-1].event
    assert last == e.DriverStopped("told to leave (SIGTERM)")
    assert simulation.cluster.unended > 0, "jobs go on"
    all_done(simulation.run(), 20, 5)
