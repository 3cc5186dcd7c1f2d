"""Whole searches on this machine: real drivers, real worker processes, real files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import MetricError, TuneError
from hpctune.logger import TBXLoggerCallback
from hpctune.storage.reader import read_experiment

pytestmark = pytest.mark.timeout(120)
LOCAL = tune.LocalOptions(cpus=2)


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments of this test lie."""
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


def run(trainable: Any, **arguments: Any) -> tune.ExperimentAnalysis:
    return tune.run(trainable, **{"cluster": LOCAL, "verbose": 0, **arguments})


# Trainables are made inside functions: then they travel by value, and jobs need not import this file.


def counting(iterations: int = 3, pause_s: float = 0.0) -> Callable[[dict[str, Any]], None]:
    def count(config: dict[str, Any]) -> None:
        for i in range(1, iterations + 1):
            time.sleep(pause_s)
            tune.report(score=config.get("x", 0) * i)

    return count


def checkpointing(fails_at: int, iterations: int = 5) -> Callable[[dict[str, Any]], None]:
    def climb(config: dict[str, Any]) -> None:
        checkpoint = tune.get_checkpoint()
        done = 0
        if checkpoint is not None:
            with checkpoint.as_directory() as directory:
                done = int((Path(directory) / "i").read_text())
        for i in range(done + 1, iterations + 1):
            if i == fails_at and checkpoint is None:
                raise ValueError("it fails here once")
            with tune.checkpoint_dir(step=i) as directory:
                (Path(directory) / "i").write_text(str(i))
            tune.report(i=i, resumed_at=done)

    return climb


def counter_class() -> type[tune.Trainable]:
    class Counter(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.n = config["start"]

        def step(self) -> dict[str, Any]:
            self.n += 1
            return {"n": self.n}

        def save_checkpoint(self, directory: str) -> str:
            (Path(directory) / "n").write_text(str(self.n))
            return directory

        def load_checkpoint(self, directory: str) -> None:
            self.n = int((Path(directory) / "n").read_text())

    return Counter


# -- trainables -------------------------------------------------------------------------------------------------------


def test_a_function(results: Path) -> None:
    analysis = run(counting(), name="f", config={"x": tune.grid_search([1, 3, 2])}, metric="score", mode="max")
    assert analysis.best_config == {"x": 3}
    assert analysis.best_result["score"] == 9
    assert analysis.best_result["training_iteration"] == 3
    assert [len(frame) for frame in analysis.trial_dataframes.values()] == [3, 3, 3]
    directory = Path(analysis.best_trial.local_path)
    assert directory.parent == results / "f"
    rows = [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]
    assert [row["score"] for row in rows] == [3, 6, 9]
    assert json.loads((directory / "params.json").read_text()) == {"x": 3}


def test_a_class_with_stop_and_checkpoint_at_end() -> None:
    analysis = run(counter_class(), config={"start": 10}, stop={"training_iteration": 3}, checkpoint_at_end=True)
    (trial,) = analysis.trials
    assert trial.last_result["n"] == 13
    assert trial.checkpoint is not None
    with trial.checkpoint.as_directory() as directory:
        assert (Path(directory) / "n").read_text() == "13"


def test_the_working_directory_as_a_checkpoint(results: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        start = tune.get_checkpoint()
        done = int(Path(start.path, "model").read_text()) if start is not None else 0
        for step in range(done + 1, 7):
            if step == 4 and start is None:
                raise ValueError("it fails here once")
            Path("model").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory("."))

    analysis = run(
        train, name="here", callbacks=[TBXLoggerCallback()], max_failures=1, log_to_file=("my.out", "my.err")
    )
    (trial,) = analysis.trials
    made = sorted(Path(trial.local_path).glob("checkpoint_*"))
    assert len(made) == 6
    for checkpoint in made:
        assert {path.name for path in checkpoint.iterdir()} == {"model", ".hpctune.json"}
    everything = {path.name for path in (results / "here").iterdir()} - {Path(trial.local_path).name}
    copied = tune.Checkpoint(results).to_directory()
    left = {str(path.relative_to(copied)) for path in Path(copied).rglob("*") if path.is_file()}
    assert everything
    assert left == {f"here/{Path(trial.local_path).name}/{name}" for name in ("model", "my.out", "my.err")}


def test_lambdas_and_returned_results() -> None:
    analysis = run(lambda config: {"y": config["x"] ** 2}, config={"x": tune.choice([3])}, num_samples=2)
    assert [trial.last_result["y"] for trial in analysis.trials] == [9, 9]


def test_the_same_seed_gives_the_same_configurations() -> None:
    searches = [
        run(
            counting(1),
            config={"x": tune.uniform(0, 1)},
            num_samples=2,
            search_alg=tune.search.BasicVariantGenerator(random_state=5),
        )
        for _ in range(2)
    ]
    one, two = ([trial.config for trial in analysis.trials] for analysis in searches)
    assert one == two


def test_large_objects_travel_beside_the_trainable(results: Path) -> None:
    import numpy as np

    def mean(config: dict[str, Any], data: Any) -> None:
        tune.report(mean=float(data.mean()), writeable=bool(data.flags.writeable))

    analysis = run(tune.with_parameters(mean, data=np.arange(5.0)), name="p")
    assert analysis.trials[0].last_result["mean"] == 2.0
    assert analysis.trials[0].last_result["writeable"] is False
    assert len(list((results / "p" / "objects").iterdir())) == 1


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_failed_trial_goes_on_from_its_checkpoint() -> None:
    analysis = run(checkpointing(fails_at=3), max_failures=1)
    (frame,) = analysis.trial_dataframes.values()
    assert list(frame["i"]) == [1, 2, 3, 4, 5]
    assert list(frame["training_iteration"]) == [1, 2, 3, 4, 5]
    assert list(frame["resumed_at"]) == [0, 0, 2, 2, 2]


def fails_for_1() -> Callable[[dict[str, Any]], None]:
    def picky(config: dict[str, Any]) -> None:
        tune.report(x=config["x"])
        if config["x"] == 1:
            raise ValueError("not this one")

    return picky


def test_failed_trials_raise_unless_told_otherwise() -> None:
    space = {"x": tune.grid_search([0, 1])}
    with pytest.raises(TuneError, match=r"Trials did not complete: .*_00001"):
        run(fails_for_1(), config=space)
    analysis = run(fails_for_1(), config=space, raise_on_failed_trial=False)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR"]
    assert "not this one" in (Path(analysis.trials[1].local_path) / "error.txt").read_text()


def test_fail_fast_raise_raises_the_original() -> None:
    with pytest.raises(ValueError, match="not this one") as caught:
        run(fails_for_1(), config={"x": tune.grid_search([1, 0])}, fail_fast="raise", max_concurrent_trials=1)
    assert isinstance(caught.value, TuneError)
    assert "in picky" in str(caught.value)


def test_a_metric_that_is_never_reported() -> None:
    with pytest.raises(TuneError, match=r"'accuracy' was never reported.*score"):
        run(counting(1), metric="accuracy", mode="max")
    assert issubclass(MetricError, TuneError)


# -- when to stop -----------------------------------------------------------------------------------------------------


def test_a_stopper_ends_trials() -> None:
    analysis = run(counting(10_000, pause_s=0.05), stop=tune.stopper.MaximumIterationStopper(2), num_samples=2)
    assert [trial.last_result["training_iteration"] for trial in analysis.trials] == [2, 2]


def test_a_time_budget_ends_all() -> None:
    analysis = run(counting(10_000, pause_s=0.05), num_samples=-1, time_budget_s=4, max_concurrent_trials=1)
    (trial,) = analysis.trials
    assert trial.last_result.get("training_iteration", 0) < 10_000


# -- the other entries ------------------------------------------------------------------------------------------------


def test_tuner() -> None:
    tuner = tune.Tuner(
        counting(),
        param_space={"x": tune.grid_search([2, 5])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(name="t", verbose=0),
        cluster=LOCAL,
    )
    grid = tuner.fit()
    assert len(grid) == 2
    assert grid.num_errors == 0
    best = grid.get_best_result()
    assert best.config == {"x": 5}
    assert best.metrics["score"] == 15
    assert tuner.get_results().experiment_path == grid.experiment_path


def test_tuner_restore_runs_failed_trials_again(results: Path, tmp_path: Path) -> None:
    flag = tmp_path / "repaired"

    def fragile(config: dict[str, Any]) -> None:
        if not flag.exists():
            raise RuntimeError("not yet")
        tune.report(fine=1)

    config = tune.RunConfig(name="t", verbose=0)
    grid = tune.Tuner(fragile, run_config=config, cluster=LOCAL).fit()
    assert grid.num_errors == 1
    assert tune.Tuner.can_restore(results / "t")
    flag.touch()
    grid = tune.Tuner.restore(results / "t", fragile, resume_errored=True).fit()
    assert (grid.num_errors, grid[0].metrics["fine"]) == (0, 1)


def test_run_experiments() -> None:
    trials = tune.run_experiments(
        {
            "one": {"run": counting(), "config": {"x": 1}, "stop": {"training_iteration": 2}},
            "two": {"run": counting(), "config": {"x": 2}, "num_samples": 2},
        },
        cluster=LOCAL,
        verbose=0,
    )
    assert [trial.last_result["score"] for trial in trials] == [2, 6, 6]


def test_debugging_in_this_process() -> None:
    seen: list[tuple[int, bool]] = []

    def look(config: dict[str, Any]) -> None:
        tune.report(pid_here=os.getpid(), main=threading.current_thread() is threading.main_thread())

    analysis = run(look, cluster="debug", num_samples=2)
    seen = [(trial.last_result["pid_here"], trial.last_result["main"]) for trial in analysis.trials]
    assert seen == [(os.getpid(), True)] * 2


# -- drivers come and go ----------------------------------------------------------------------------------------------


SCRIPT = """
import sys, time
import hpctune as tune

def slow(config):
    for i in range(1, 31):
        time.sleep(0.1)
        tune.report(i=i)

if __name__ == "__main__":
    tune.run(slow, name="s", num_samples=2, resume="AUTO", verbose=0, cluster=tune.LocalOptions(cpus=2))
    print("finished")
"""


Drive = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """Start a driver process for SCRIPT (or ``text``, after ``first``); none survives the test."""
    with contextlib.ExitStack() as stack:

        def start(text: str = SCRIPT, first: str = "") -> subprocess.Popen[str]:
            script = tmp_path / "script.py"
            script.write_text(first + text)
            process = subprocess.Popen(
                [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def wait_for_results(root: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = read_experiment(root, peek=False).state
            if len(state.trials) == 2 and all(trial.results >= count for trial in state.trials.values()):
                return
        except TuneError:
            pass
        time.sleep(0.1)
    raise AssertionError("no results came")


def each_iteration_counted_once(root: Path) -> None:
    view = read_experiment(root, with_rows=True)
    for trial in view.state.trials.values():
        rows = [row.row["i"] for row in view.rows if row.trial_id == trial.trial_id]
        assert rows == list(range(1, 31))
        assert trial.attempts == 1, "its job was to be adopted, not submitted again"
        assert trial.overruns == 0


def test_a_killed_driver_is_replaced_and_its_jobs_adopted(results: Path, drive: Drive) -> None:
    first = drive()
    wait_for_results(results / "s", 3)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=30)
    second = drive()
    output, errors = second.communicate(timeout=100)
    assert (second.returncode, output) == (0, "finished\n"), errors
    each_iteration_counted_once(results / "s")


def test_leaving_by_a_signal_says_how_to_go_on(results: Path, drive: Drive) -> None:
    first = drive()
    wait_for_results(results / "s", 2)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 0
    assert "Stopping the driver: jobs go on" in errors
    root = results / "s"
    assert f"The driver has ended; 2 jobs go on. Resume: hpctune resume {root}. Stop: hpctune stop {root}" in errors
    output, errors = drive().communicate(timeout=100)
    assert output == "finished\n", errors
    each_iteration_counted_once(results / "s")


def test_leaving_may_cancel_the_jobs_and_a_resume_goes_on(results: Path, drive: Drive) -> None:
    overridden = SCRIPT.replace("    tune.run(", "    with use(Overrides(cancel_on_exit=True)): tune.run(")
    first = drive(overridden, first="from hpctune.launch.overrides import Overrides, use\n")
    wait_for_results(results / "s", 2)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=60)
    assert "Stopping the driver: the jobs are cancelled" in errors
    assert f"The driver has ended. Resume: hpctune resume {results / 's'}." in errors
    output, errors = drive().communicate(timeout=100)
    assert output == "finished\n", errors
    view = read_experiment(results / "s", with_rows=True)
    for trial in view.state.trials.values():
        rows = [row.row["training_iteration"] for row in view.rows if row.trial_id == trial.trial_id]
        assert rows == sorted(set(rows)), "without checkpoints it starts again, and nothing counts twice"
        assert trial.attempts == 2


def test_a_resume_takes_the_corrected_trainable(results: Path) -> None:
    def broken(config: dict[str, Any]) -> None:
        raise RuntimeError("a bug")

    def mended(config: dict[str, Any]) -> None:
        tune.report(fine=config["x"])

    mended.__name__ = "broken"
    space = {"x": tune.grid_search([1, 2])}
    run(broken, name="b", config=space, raise_on_failed_trial=False)
    analysis = run(mended, name="b", config=space, resume="LOCAL+RESTART_ERRORED")
    assert [trial.last_result["fine"] for trial in analysis.trials] == [1, 2]
    assert not list((results / "b").glob(".renewed*"))


def test_a_grid_that_grows_and_shrinks_between_two_drivers(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def grid(*values: int) -> dict[str, Any]:
        return {"a": tune.grid_search(list(values)), "b": tune.grid_search([1, 2])}

    def pairs(analysis: tune.ExperimentAnalysis) -> list[tuple[int, int]]:
        return [(trial.config["a"], trial.config["b"]) for trial in analysis.trials]

    first = pairs(run(counting(1), name="g", config=grid(1, 2)))
    grown = pairs(run(counting(1), name="g", config=grid(3, 1, 2), resume=True))
    assert grown == [*first, (3, 1), (3, 2)]
    assert "any more" not in capfd.readouterr().err
    shrunk = run(counting(1), name="g", config=grid(4, 2), resume=True)
    assert pairs(shrunk) == [*grown, (4, 1), (4, 2)]
    assert "4 of 6 trials are not in the search space any more. Their results are kept." in capfd.readouterr().err
    restored = tune.Tuner.restore(str(results / "g"), counting(1), param_space=grid(1, 2, 3, 4, 5), cluster=LOCAL)
    assert [(r.config["a"], r.config["b"]) for r in restored.fit()] == [*pairs(shrunk), (5, 1), (5, 2)]
    assert {trial.value.attempts for trial in shrunk.trials} == {1}


def test_objects_in_a_grid_are_not_tried_twice(results: Path) -> None:
    class Thing:
        pass

    def report(config: dict[str, Any]) -> None:
        tune.report(n=config["n"])

    def space(*numbers: int) -> dict[str, Any]:
        things = [Thing(), lambda: 1, lambda: 2]
        return {"t": tune.grid_search(things), "n": tune.grid_search(list(numbers)), "constant": Thing()}

    run(report, name="o", config=space(1, 2))
    again = run(report, name="o", config=space(1, 2, 3), resume=True)
    assert [trial.config["n"] for trial in again.trials] == [1, 2, 1, 2, 1, 2, 3, 3, 3]


def test_more_samples_after_the_end(results: Path) -> None:
    space = {"x": tune.uniform(0, 1)}
    first = run(counting(1), name="m", config=space, num_samples=1)
    second = run(counting(1), name="m", config=space, num_samples=3, resume=True)
    assert len(second.trials) == 3
    assert second.trials[0].config == first.trials[0].config
    assert second.trials[0].value.attempts == 1
