"""What happens at each turn of a driver: callbacks hear of it, files are complete after it, and nobody is held up."""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hpctune.driver import engine
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.errors import TuneError
from hpctune.model import events as e
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import Phase
from hpctune.output.callback import Callback, CallbackList
from hpctune.output.defaults import default_callbacks
from hpctune.schedulers import ASHAScheduler, FIFOScheduler
from hpctune.storage import journal, run_file
from hpctune.storage.checkpoints import Progress, write_progress
from hpctune.testing.simulated import Curve, SimulatedCluster
from hpctune.testing.simulation import Simulation


class Counting(Callback):
    """Counts turns and results, and wants to go on counting."""

    def __init__(self) -> None:
        self.open, self.turns, self.results = False, 0, 0
        self.given: dict[str, int] | None = None

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        assert not self.open
        self.open = True

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        assert self.open
        self.open = False
        self.turns += 1

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        assert self.open
        self.results += 1

    def get_state(self) -> dict[str, int]:
        return {"results": self.results}

    def set_state(self, state: dict[str, int]) -> None:
        self.given, self.results = state, state["results"]


class Analysing(Callback):
    """Asks for the statistics of trials at their end, which come to it before they are in the journal."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool]] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        last = trial.last_result["training_iteration"]
        self.seen.append((trial.metric_analysis["training_iteration"]["max"] == last, trial.statistics().count == last))


def test_statistics_hold_results_that_are_not_in_the_journal_yet(tmp_path: Path) -> None:
    analysing = Analysing()
    simulation = Simulation(tmp_path / "exp", num_samples=3, iterations=4, callbacks=[analysing])
    simulation.run()
    assert analysing.seen == [(True, True)] * 3


def test_callbacks_hear_of_turns_and_get_their_state_back(tmp_path: Path) -> None:
    first = Counting()
    simulation = Simulation(tmp_path / "exp", num_samples=4, iterations=10, callbacks=[first])
    driver = simulation.driver()
    driver.start()
    leave = LeaveRequest()
    original = driver.step

    def step() -> float:
        if first.results >= 12:
            leave.reason = "enough"
        return original()

    driver.step = step  # type: ignore[method-assign]
    drive([driver], simulation.clock, leave)
    assert first.turns > 2
    assert 12 <= first.results < 40
    second = Counting()
    simulation.setup.callbacks = (second,)
    simulation.run()
    assert second.given == {"results": first.results}
    assert second.results == 40


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "exp", num_samples=1, callbacks=[Counting()])
    simulation.paths.callbacks.write_bytes(b"torn")
    simulation.paths.callbacks.chmod(0o600)
    with pytest.raises(TuneError, match=r"the saved states of the callbacks: UnpicklingError.* rm .*callbacks.pkl"):
        simulation.run()
    simulation.paths.callbacks.unlink()
    simulation.run()


def test_no_state_makes_no_file(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "exp", num_samples=1, callbacks=default_callbacks())
    simulation.run()
    assert not simulation.paths.callbacks.exists()


class Reading(Callback):
    """Reads the files of what it hears of."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Mapping[str, Any], **info: Any) -> None:
        lines = Path(trial.local_path, "result.json").read_text().splitlines()
        assert json.loads(lines[-1])["training_iteration"] == result["training_iteration"]
        assert len(Path(trial.local_path, "progress.csv").read_text().splitlines()) == len(lines) + 1


def test_files_are_complete_when_others_hear_of_a_result(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "exp", num_samples=3, callbacks=[*default_callbacks(), Reading()])
    assert simulation.run().finished == 3


def test_a_trial_with_many_results_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are there at the driver's first look; it takes them in by turns."""
    monkeypatch.setattr(run_file, "SOME", 2000)
    curve = Curve(metrics=lambda config, iteration: {"loss": config["x"]}, iterations=100, seconds=lambda config: 0.001)
    simulation = Simulation(tmp_path / "exp", num_samples=3, curve=curve, callbacks=default_callbacks())
    state = simulation.run()
    assert [trial.last_iteration for trial in state.trials.values()] == [100] * 3
    order = [
        recorded.event.run.trial_id
        for recorded in journal.read(simulation.paths.journal)
        if isinstance(recorded.event, e.ResultReported)
    ]
    assert len(order) == 300
    assert max(len(list(rows)) for _, rows in itertools.groupby(order)) < 40


def test_what_is_cancelled_has_been_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "SOME", 2000)
    curve = Curve(metrics=lambda config, iteration: {"loss": 1.0}, iterations=10_000, seconds=lambda config: 0.1)
    simulation = Simulation(tmp_path / "exp", num_samples=2, curve=curve)
    driver = simulation.driver()
    driver.start()
    driver.step()
    simulation.clock.sleep(60.0)
    written = {path.parent.name: len(path.read_text().splitlines()) - 1 for path in tmp_path.rglob("run-1.0.jsonl")}
    assert driver.cancel_jobs("asked to") == 2
    assert {trial.dirname: trial.results for trial in driver.state.trials.values()} == written
    assert min(written.values()) > 500
    driver.leave("cancelled")


@pytest.mark.parametrize("keep", [None, 1])
def test_checkpoints_of_runs_that_died_before_their_result_go_where_few_are_kept(
    tmp_path: Path, keep: int | None
) -> None:
    class Killed(Callback):
        """Leaves what a run leaves that is killed between its checkpoint and the result that goes with it."""

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            for name in ("checkpoint_000007", "checkpoint_000007-2.1", "checkpoint_best", "checkpoint_000008"):
                Path(trial.local_path, name).mkdir(parents=True)
                if name != "checkpoint_000008":  # what has no progress is the user's own
                    write_progress(Path(trial.local_path, name), Progress(7))

    simulation = Simulation(
        tmp_path / "exp",
        num_samples=1,
        curve=Curve(metrics=lambda config, iteration: {"loss": 1.0}, iterations=3, checkpoint_every=1),
        callbacks=[Killed()],
        checkpoint=CheckpointPolicy(keep=keep),
    )
    [trial] = simulation.run().trials.values()
    listed = {checkpoint.name for checkpoint in trial.checkpoints}
    theirs = {"checkpoint_best", "checkpoint_000008"}
    ours = {"checkpoint_000007", "checkpoint_000007-2.1"} if keep is None else set()
    found = {path.name for path in (tmp_path / "exp" / trial.dirname).glob("checkpoint_*")}
    assert found == listed | theirs | ours
    assert len(listed) == (keep or 3)


def test_a_state_is_kept_by_the_driver_that_drives(tmp_path: Path) -> None:
    """One of which another has taken over leaves what that one has saved."""
    simulation = Simulation(tmp_path / "exp", num_samples=2, callbacks=[old := Counting()])
    zombie = simulation.driver()
    zombie.start()
    zombie.step()
    zombie.lease._lock.release()  # on another node, where locks do not reach
    simulation.setup.callbacks = (new := Counting(),)
    successor = simulation.driver()
    successor.start()
    new.results = 100
    simulation.clock.sleep(60.0)
    successor.step()
    saved = simulation.paths.callbacks.read_bytes()
    old.results = 7
    zombie.leave("lost")
    assert simulation.paths.callbacks.read_bytes() == saved
    successor.leave("done")


def test_a_state_that_cannot_be_kept_or_given_back_names_its_callback() -> None:
    class Sealed(Callback):
        def get_state(self) -> dict[str, Any]:
            return {"lock": threading.Lock()}

    class Choosy(Callback):
        def get_state(self) -> dict[str, Any]:
            return {"n": 1}

        def set_state(self, other_name: dict[str, Any]) -> None:  # type: ignore[override]
            raise ValueError(f"too old: {other_name['n']}")

    class Files(Sealed):
        rebuilds = True

    with pytest.raises(TuneError, match="Sealed failed in get_state: TypeError: cannot pickle"):
        CallbackList([Sealed()]).states()
    hooks = CallbackList([Choosy()])
    with pytest.raises(TuneError, match="Choosy failed in set_state: ValueError: too old: 1"):
        hooks.set_states(hooks.states())
    assert not CallbackList([Files()]).stateful, "it hears of every result again"


def test_a_checkpoint_from_which_another_trial_is_to_start_stays(tmp_path: Path) -> None:
    simulation = Simulation(
        tmp_path / "exp",
        num_samples=1,
        curve=Curve(metrics=lambda config, iteration: {"loss": 1.0}, iterations=3, checkpoint_every=1),
        checkpoint=CheckpointPolicy(keep=1),
    )
    driver = simulation.driver()
    driver.start()
    driver.step()
    [trial] = driver.state.trials.values()
    for name in ("checkpoint_000007", "checkpoint_000009"):
        path = tmp_path / "exp" / trial.dirname / name
        path.mkdir(parents=True)
        write_progress(path, Progress(7))
    driver.state.borrowed["another"] = f"{trial.dirname}/checkpoint_000007"
    drive([driver], simulation.clock, LeaveRequest())
    left = {path.name for path in (tmp_path / "exp" / trial.dirname).glob("checkpoint_*")}
    assert left == {"checkpoint_000003", "checkpoint_000007"}


def test_orders_go_before_the_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is killed in between leaves nothing by which a run could begin once more."""
    gone, unlink = list[str](), os.unlink

    def noted(path: str | Path) -> None:
        gone.append(Path(path).name)
        unlink(path)

    monkeypatch.setattr(os, "unlink", noted)
    Simulation(tmp_path / "exp", num_samples=1).run()
    assert [name for name in gone if name in ("control.json", "run-1.0.jsonl")] == ["control.json", "run-1.0.jsonl"]


def unsettled_after_each_step(simulation: Simulation) -> list[int]:
    """How many trials were over and not settled after each turn; in the end there are none."""
    driver, seen = simulation.driver(), list[int]()
    original = driver.step

    def step() -> float:
        pause = original()
        seen.append(len(driver.state.unfinalized))
        return pause

    driver.step = step  # type: ignore[method-assign]
    driver.start()
    drive([driver], simulation.clock, LeaveRequest())
    assert not driver.state.unfinalized
    assert list(simulation.paths.root.rglob("run-*.jsonl")) == []
    return seen


def test_what_is_over_is_tidied_by_a_driver_that_has_time(tmp_path: Path) -> None:
    seen = unsettled_after_each_step(Simulation(tmp_path / "exp", num_samples=20, iterations=3, slots=4))
    assert len(seen) > 20
    assert set(seen) == {0}


def test_a_busy_driver_puts_off_tidying_but_not_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = Curve(metrics=lambda config, iteration: {"loss": 1.0}, iterations=2, seconds=lambda config: 0.2)
    monkeypatch.setattr(engine, "RESTED_S", 1e9)

    def most(name: str) -> int:
        return max(unsettled_after_each_step(Simulation(tmp_path / name, num_samples=60, slots=4, curve=curve)))

    monkeypatch.setattr(engine, "TIDY_WITHIN_S", 1e9)
    never = most("never")
    monkeypatch.setattr(engine, "UNTIDY_AT_MOST", 20)
    few = most("few")
    monkeypatch.setattr(engine, "UNTIDY_AT_MOST", 1000)
    monkeypatch.setattr(engine, "TIDY_WITHIN_S", 60.0)
    lately = most("lately")
    assert never > 40
    assert 0 < few <= 20
    assert 0 < lately < never


def test_news_gather_only_where_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def undisturbed(name: str, all_workers_prefetched: bool | None, scheduler: Any = FIFOScheduler) -> set[float]:
        simulation = Simulation(tmp_path / name, num_samples=9, iterations=9, slots=3, scheduler=scheduler)
        driver, seen = simulation.driver(), set[float]()
        if all_workers_prefetched is not None:
            monkeypatch.setattr(SimulatedCluster, "all_workers_prefetched", all_workers_prefetched, raising=False)
        driver.start()
        while not driver.finished:
            pause = driver.step()
            if driver.state.phases[Phase.RUNNING]:
                seen.add(driver.batching_window_s)
            simulation.clock.sleep(pause)
        driver.leave("finished")
        return seen

    assert undisturbed("jobs", None) == {0.0}
    assert undisturbed("idle", False) == {0.0}
    assert undisturbed("busy", True) == {engine.GATHER_S}
    assert undisturbed("asha", True, lambda: ASHAScheduler(metric="loss", mode="min", max_t=9, grace_period=1)) == {0.0}
