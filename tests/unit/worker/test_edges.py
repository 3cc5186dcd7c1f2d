"""Reports and ends that are out of the ordinary, run in this process."""

from __future__ import annotations

import bdb
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.errors import CheckpointError
from hpctune.model.records import Outcome
from hpctune.storage import bundle, checkpoints
from hpctune.worker import scratch, session
from hpctune.worker.main import run_attempt
from tests.support.worker_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# -- what is reported -------------------------------------------------------------------------------------------------


def test_the_argument_may_be_named_as_in_ray_tune(lab: Lab) -> None:
    lab.run(lambda config: hpctune.report(metrics={"loss": 1}, checkpoint=None))
    assert lab.column("loss") == [1]


def test_a_metric_called_metrics_is_one(lab: Lab) -> None:
    lab.run(lambda config: hpctune.report(metrics=3))
    assert lab.column("metrics") == [3]


@pytest.mark.parametrize(("said", "counted"), [((10, 20), [10, 20]), ((0, 1), [1, 2]), ((7, 3), [7, 8])])
def test_an_own_iteration_counts_when_it_is_ahead(lab: Lab, said: tuple[int, int], counted: list[int]) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in said:
            hpctune.report(training_iteration=step)

    lab.run(train)
    assert lab.column("training_iteration") == counted


def test_an_own_time_counts(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> Iterator[dict[str, float]]:
        yield {"time_this_iter_s": 100}
        yield {"time_this_iter_s": 50.0}

    lab.run(train, criteria={"time_total_s": 120})
    assert lab.column("time_total_s") == [100, 150]


def test_an_own_tensor_reaches_a_milestone_and_a_criterion(lab: Lab) -> None:
    class Tensor:
        def __init__(self, value: float) -> None:
            self.value = value

        def __float__(self) -> float:
            return float(self.value)

        def tolist(self) -> float:
            return self.value

    def train(config: dict[str, Any]) -> None:
        for step in range(9):
            hpctune.report(step=Tensor(step), loss=float("nan"), nothing=None)

    began = time.monotonic()
    lab.run(train, criteria={"step": 3}, milestone=2.0, milestone_attr="step", decision_timeout_s=0.5)
    assert lab.column("step") == [0, 1, 2, 3]
    assert time.monotonic() - began >= 0.5


def test_a_returned_dict_is_the_last_row(lab: Lab) -> None:
    lab.run(lambda config: {"loss": 1})
    assert lab.column("done") == [True]


@pytest.mark.parametrize("keyword", [False, True])
def test_a_reporter_works_in_both_positions(lab: Lab, keyword: bool) -> None:
    def train(config: dict[str, Any], *, reporter: Any) -> None:
        reporter(loss=1)

    def old(config: dict[str, Any], reporter: Any) -> None:
        reporter(loss=1)

    lab.run(train if keyword else old)
    assert lab.column("loss") == [1]


# -- criteria that cannot be applied ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["los", "model", "timesteps_total"])
def test_a_wrong_stop_key_fails_the_trial_whatever_it_catches(lab: Lab, key: str) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(5):
            try:
                hpctune.report(loss=step, model={"a": 1})
            except Exception:
                continue

    end = lab.run(train, criteria={key: 3})
    assert lab.column("loss") == [0]
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert end.error.kind == "MetricError"
    assert f"'{key}' was never reported" in end.error.message
    assert "loss, model/a" in end.error.message


# -- checkpoints that cannot be saved ---------------------------------------------------------------------------------


def test_a_lost_checkpoint_does_not_take_its_result_along(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        with pytest.raises(CheckpointError):
            hpctune.report({"loss": 1}, checkpoint=hpctune.Checkpoint("/no/such/directory"))
        hpctune.report(loss=2)

    end = lab.run(train)
    assert (lab.column("loss"), lab.column("training_iteration")) == ([1, 2], [1, 2])
    assert [r.checkpoint for r in lab.results()] == [None, None]
    assert end.outcome is Outcome.COMPLETED


def test_a_directory_that_cannot_be_saved_stays_the_users(lab: Lab, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "mine").mkdir()

    def broken(paths: Any) -> Path:
        raise CheckpointError("no room")

    monkeypatch.setattr(checkpoints, "staging", broken)
    with pytest.raises(CheckpointError):
        checkpoints.persist(tmp_path / "mine", lab.trial, lab_run(), checkpoints.Progress(1))
    assert (tmp_path / "mine").is_dir()


def lab_run() -> Any:
    from hpctune.model.ids import RunKey

    return RunKey("t_00000", 1, 0)


def test_a_failed_checkpoint_dir_leaves_nothing(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        try:
            with hpctune.checkpoint_dir(step=1) as directory:
                Path(directory, "half").touch()
                raise RuntimeError("in the middle")
        except RuntimeError:
            hpctune.report(loss=1)

    lab.run(train)
    assert lab.results()[0].checkpoint is None
    assert not [p for p in lab.trial.root.iterdir() if p.is_dir()]


def test_a_damaged_restore_point_is_a_failure_with_a_record(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / ".hpctune.json").write_text("{")
    end = lab.run(lambda config: None, restore=str(tmp_path))
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert end.error.kind == "CheckpointError"


# -- how it ends ------------------------------------------------------------------------------------------------------


def test_a_generator_ends_with_its_finally(lab: Lab, tmp_path: Path) -> None:
    kept = []  # a reference that outlives the call

    def generate(config: dict[str, Any]) -> Iterator[dict[str, int]]:
        try:
            while True:
                yield {"loss": 1}
        finally:
            (tmp_path / "closed").touch()

    def train(config: dict[str, Any]) -> Iterator[dict[str, int]]:
        kept.append(generate(config))
        return kept[0]

    lab.run(train, criteria={"training_iteration": 2})
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize("how", ["another error", "sys.exit", "return"])
def test_what_was_decided_stays_whatever_user_code_makes_of_it(lab: Lab, how: str) -> None:
    def train(config: dict[str, Any]) -> None:
        while True:
            try:
                hpctune.report(loss=1)
            except BaseException as end:
                if how == "return":
                    return
                raise (SystemExit(3) if how == "sys.exit" else RuntimeError("wrapped")) from end

    assert lab.run(train, criteria={"training_iteration": 2}).outcome is Outcome.COMPLETED


def test_signals_that_come_too_late_change_nothing(lab: Lab) -> None:
    class Saves(hpctune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR2)
            return {"a": 1}

        def cleanup(self) -> None:
            os.kill(os.getpid(), signal.SIGUSR2)

    end = lab.run(Saves, checkpoint_at_end=True)
    assert (end.outcome, end.reason) == (Outcome.COMPLETED, "done")
    assert lab.results()[0].checkpoint is not None


def test_signals_do_not_disturb_the_last_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    persist = checkpoints.persist

    def slow(*arguments: Any, **options: Any) -> str:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        return persist(*arguments, **options)

    def train(config: dict[str, Any]) -> None:
        hpctune.report(loss=1)
        with hpctune.checkpoint_dir(step=1) as directory:
            Path(directory, "model").touch()
        monkeypatch.setattr(checkpoints, "persist", slow)

    monkeypatch.setattr(bundle, "load_trainable", lambda paths: train)
    end = lab.run(print)
    assert (end.outcome, bool(end.checkpoint)) == (Outcome.COMPLETED, True)


def test_a_second_sigterm_interrupts_but_does_not_undo(lab: Lab) -> None:
    class Slow(hpctune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"loss": 1}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it goes on after the second")

    end = lab.run(Slow, checkpoint_at_end=True, criteria={"training_iteration": 1})
    assert end.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_in_a_step_saves_a_class_with_that_steps_result(lab: Lab, number: int) -> None:
    class Counts(hpctune.Trainable):
        def step(self) -> dict[str, Any]:
            if self.iteration == 1:
                os.kill(os.getpid(), number)
            return {"loss": 1}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:
            return {"a": 1}

    end = lab.run(Counts)
    assert end.outcome is Outcome.INTERRUPTED
    assert [bool(r.checkpoint) for r in lab.results()] == [False, True]


def test_the_main_thread_is_told_what_only_another_has_heard(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "NOTICE_S", 0.1)
    monkeypatch.setattr(session, "SYNC_S", 0.02)

    def train(config: dict[str, Any]) -> None:
        def report() -> None:
            with pytest.raises(BaseException, match="criterion"):
                hpctune.report(loss=1)

        threading.Thread(target=report).start()
        time.sleep(60)

    began = time.monotonic()
    end = lab.run(train, criteria={"loss": 1})
    assert end.outcome is Outcome.COMPLETED
    assert time.monotonic() - began < 20


def test_a_main_thread_that_is_leaving_is_left_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "NOTICE_S", 0.0)
    monkeypatch.setattr(session, "SYNC_S", 0.01)

    def train(config: dict[str, Any]) -> None:
        try:
            hpctune.report(loss=1)
        finally:
            time.sleep(0.3)
            (tmp_path / "saved").touch()

    lab.run(train, criteria={"loss": 1})
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, bdb.BdbQuit])
def test_leaving_the_program_is_an_interruption(lab: Lab, leaving: type[BaseException]) -> None:
    def train(config: dict[str, Any]) -> None:
        raise leaving

    lab.publish(train)
    with pytest.raises(leaving):
        run_attempt(lab.paths.root, "trial", 1)
    assert lab.exit().outcome is Outcome.INTERRUPTED


def test_closed_streams_do_not_cost_the_record(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("stdout", "stderr"):
        stream = (tmp_path / name).open("w")
        monkeypatch.setattr(sys, name, stream)
        stream.close()

    def train(config: dict[str, Any]) -> None:
        raise RuntimeError("gone wrong")

    assert lab.run(train).outcome is Outcome.FAILED
    monkeypatch.setattr(sys, "stderr", None)
    assert lab.run(train, attempt=2).outcome is Outcome.FAILED


def test_a_trial_may_go_elsewhere(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def train(config: dict[str, Any]) -> None:
        here = tmp_path / "here"
        here.mkdir()
        os.chdir(here)
        here.rmdir()
        with hpctune.checkpoint_dir(step=1) as directory:
            Path(directory, "model").touch()
        hpctune.report(loss=1)

    lab.publish(train)
    assert run_attempt(Path("experiment"), "trial", 1) == 0
    assert lab.exit().outcome is Outcome.COMPLETED
    assert (lab.trial.root / (lab.results()[0].checkpoint or "") / "model").exists()
    assert Path.cwd() == tmp_path


# -- where things are found -------------------------------------------------------------------------------------------


def test_a_configuration_may_have_values_of_the_users_modules(lab: Lab, tmp_path: Path) -> None:
    """The control file is read before the trainable: the user's directory must be on the path by then."""
    (tmp_path / "mylayers.py").write_text("class Layer:\n    size = 7\n")
    script = (
        "import mylayers, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from tests.support.worker_lab import Lab\n"
        "lab = Lab.__new__(Lab); from hpctune.storage.layout import ExperimentPaths\n"
        "lab.paths = ExperimentPaths(Path(sys.argv[1])); lab.trial = lab.paths.trial('trial')\n"
        "def train(config): import hpctune; hpctune.report(size=config['layer'].size)\n"
        "lab.publish(train, {'layer': mylayers.Layer()})\n"
    )
    (tmp_path / "script.py").write_text(script)
    root = str(Path(__file__).parents[3])
    subprocess.run([sys.executable, tmp_path / "script.py", lab.paths.root, root], check=True, cwd=root)
    try:
        assert run_attempt(lab.paths.root, "trial", 1) == 0
    finally:
        sys.modules.pop("mylayers", None)
    assert lab.column("size") == [7]
    assert str(tmp_path) not in sys.path


def test_the_users_directories_come_first_in_the_drivers_order(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = ["/usr", "", "/tmp", *sys.path]
    monkeypatch.setattr(sys, "path", driver)
    bundle.save(lab.paths, print, None)
    monkeypatch.setattr(sys, "path", ["/bin", "/tmp", "/usr"])
    bundle.prepare_imports(lab.paths)
    assert sys.path[:3] == ["/usr", str(Path.cwd()), "/tmp"]
    assert sys.path[-1] == "/bin"
    stdlib = str(Path(os.__file__).parent)
    assert not [entry for entry in sys.path if entry.endswith("site-packages") or entry == stdlib]


def test_children_know_their_trial_and_save_checkpoints(lab: Lab) -> None:
    program = (
        "import hpctune, pathlib\n"
        "with hpctune.checkpoint_dir(step=1) as d: pathlib.Path(d, 'model').touch()\n"
        "c = hpctune.get_context()\n"
        "where = dict(where=c.get_trial_dir(), e=c.get_experiment_name())\n"
        "hpctune.report(where, id=c.get_trial_id(), name=c.get_trial_name())\n"
        "hpctune.report(id='again')\n"
    )

    def train(config: dict[str, Any]) -> None:
        subprocess.run([sys.executable, "-c", program], check=True)

    lab.run(train)
    first, second = lab.results()
    got = [first.row[name] for name in ("id", "name", "where", "e")]
    assert got == ["t_00000", "name", str(lab.trial.root), "experiment"]
    assert (lab.trial.root / (first.checkpoint or "-") / "model").exists()
    assert second.checkpoint is None


def test_what_dead_processes_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "PARENTS", (str(tmp_path),))
    mine = scratch.make(str(tmp_path))
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout
    left = tmp_path / mine.name.replace(f"-{os.getpid()}-", f"-{dead.strip()}-")
    elsewhere = tmp_path / f"hpctune-00000000-{dead.strip()}-abc"
    for directory in (left, elsewhere):
        directory.mkdir()
    scratch.sweep()
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere])


@pytest.fixture
def node() -> Iterator[Path]:
    """A node's own temporary directory, with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="n", dir="/tmp") as directory:
        yield Path(directory)


def test_nothing_of_a_run_stays_on_the_node(lab: Lab, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(node))
    monkeypatch.setattr(scratch, "SOCKET_PARENTS", (None,))

    def train(config: dict[str, Any]) -> None:
        hpctune.report(there=len(list(node.iterdir())))
        hpctune.report({"a": 1}, checkpoint=hpctune.Checkpoint.from_dict({"weights": [1, 2]}))
        raise RuntimeError("bad end")

    lab.run(train)
    assert lab.results()[0].row["there"] > 0
    assert list(node.iterdir()) == []
    assert hpctune.Checkpoint(lab.trial.root / (lab.results()[1].checkpoint or "")).to_dict() == {"weights": [1, 2]}
