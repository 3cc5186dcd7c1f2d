"""Every form of a trainable: functions, classes of two generations, programs; what travels with them."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpctune
from hpctune.errors import CheckpointError, StorageError, TrainableError, UsageError
from hpctune.model.ids import RunKey
from hpctune.model.records import Control, Exit, Outcome, ResultRow
from hpctune.model.resources import Resources
from hpctune.storage import bundle, checkpoints, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail
from hpctune.trainable import wrap_function
from hpctune.worker import form_of, resources_of, trainable as stepping
from hpctune.worker.command import printed_result
from hpctune.worker.main import run_attempt


class Lab:
    """One trial, run in this process."""

    def __init__(self, root: Path) -> None:
        self.paths = ExperimentPaths(root / "experiment")
        self.trial = self.paths.trial("trial")
        self.trial.root.mkdir(parents=True)

    def run(
        self, trainable: Any, config: Mapping[str, Any] | None = None, attempt: int = 1, **control: Any
    ) -> tuple[list[ResultRow], Exit]:
        bundle.save(self.paths, trainable, None)
        given = {"config": dict(config or {}), "resources": Resources().to_json(), **control}
        control_file.publish(self.trial.control, Control("e", "t_00000", "name", "0", attempt, **given))
        assert run_attempt(self.paths.root, "trial", attempt) == 0
        records = RunTail(self.trial.run(attempt, 0), RunKey("t_00000", attempt, 0)).read()
        assert isinstance(records[-1], Exit)
        return [r for r in records if isinstance(r, ResultRow)], records[-1]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# -- functions ---------------------------------------------------------------------------------------------------------


class _Callable:
    def __call__(self, config: dict[str, Any]) -> dict[str, float]:
        return {"x": config["lr"]}


def _generator(config: dict[str, Any]) -> Any:
    yield {"x": config["lr"]}
    yield {"x": config["lr"]}


def _reporter(config: dict[str, Any], reporter: Callable[..., None]) -> None:
    reporter(x=config["lr"])


def _legacy(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
    assert checkpoint_dir is None
    hpctune.report(x=config["lr"])


@pytest.mark.parametrize(
    ("trainable", "rows"),
    [
        (lambda config: hpctune.report(x=config["lr"]), 1),
        (lambda config: {"x": config["lr"]}, 1),
        (_Callable(), 1),
        (_generator, 2),
        (_reporter, 1),
        (_legacy, 1),
        (functools.partial(lambda config, scale: {"x": config["lr"] * scale}, scale=1), 1),
        (wrap_function(_reporter, "renamed"), 1),
    ],
)
def test_every_form_of_function_runs(lab: Lab, trainable: Any, rows: int) -> None:
    results, end = lab.run(trainable, {"lr": 0.5})
    assert end.outcome is Outcome.COMPLETED, end.error
    assert [r.row["x"] for r in results] == [0.5] * rows


def test_a_returned_number_is_a_metric(lab: Lab) -> None:
    assert lab.run(lambda config: 0.25)[0][0].row["_metric"] == 0.25


def test_nothing_reported_is_a_completed_run(lab: Lab) -> None:
    results, end = lab.run(lambda config: None)
    assert (results, end.outcome) == ([], Outcome.COMPLETED)


async def _coroutine(config: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (lambda: 0, "takes no argument"),
        (lambda a, b, c: 0, "a, b, c"),
        (_coroutine, "async"),
        (3, "not 3"),
        (int, "not derived from hpctune.Trainable"),
    ],
)
def test_what_is_no_trainable_is_refused(trainable: Any, words: str) -> None:
    with pytest.raises(TrainableError, match=words):
        form_of(trainable)


# -- classes -----------------------------------------------------------------------------------------------------------


class Counter(hpctune.Trainable):
    """Counts; survives by a dict."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count, "before": self.iteration, "done": self.count == 6, "where": self.logdir}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = checkpoint["count"]

    def cleanup(self) -> None:
        Path("cleaned").touch()


class InDirectory(Counter):
    """Writes a file and returns the directory."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        Path(checkpoint_dir, "count").write_text(str(self.count))
        return checkpoint_dir

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = int(Path(checkpoint, "count").read_text())


class AsFile(InDirectory):
    """Returns the path of the file that it wrote."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        return str(Path(super().save_checkpoint(checkpoint_dir)) / "count")

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = int(Path(checkpoint).read_text())


class Silent(InDirectory):
    """Returns nothing."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        super().save_checkpoint(checkpoint_dir)


class Old(hpctune.Trainable):
    """Ray Tune 0.x."""

    def _setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def _train(self) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count, "done": self.count == 6}

    def _save(self, checkpoint_dir: str) -> str:
        path = Path(checkpoint_dir, "state")
        path.write_text(str(self.count))
        return str(path)

    def _restore(self, path: str) -> None:
        self.count = int(Path(path).read_text())

    def _stop(self) -> None:
        Path("cleaned").touch()


FORMS = [Counter, InDirectory, AsFile, Silent, Old]


@pytest.mark.parametrize("form", FORMS)
def test_a_class_is_saved_and_goes_on(lab: Lab, form: type[hpctune.Trainable]) -> None:
    first, end = lab.run(form, checkpoint_frequency=2, criteria={"training_iteration": 4})
    assert [r.checkpoint for r in first] == [None, "checkpoint_000002", None, "checkpoint_000004"]
    assert (end.outcome, lab.trial.root.joinpath("cleaned").exists()) == (Outcome.COMPLETED, True)
    second, _ = lab.run(form, attempt=2, restore=str(lab.trial.root / "checkpoint_000004"), checkpoint_at_end=True)
    assert [(r.row["count"], r.row["training_iteration"]) for r in second] == [(5, 5), (6, 6)]
    assert second[-1].checkpoint == "checkpoint_000006-2.0"


def test_a_class_knows_its_iteration_and_place(lab: Lab) -> None:
    results, _ = lab.run(Counter)
    assert [r.row["before"] for r in results] == list(range(6))
    assert results[0].row["where"] == str(lab.trial.root)


def test_a_paused_class_saves_before_it_leaves(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.worker.session.LOOK_S", 0.0)
    _, end = lab.run(Counter, leave="pause")
    assert (end.outcome, end.checkpoint, end.checkpoint_iteration) == (Outcome.PAUSED, "checkpoint_000001", 1)


def test_a_class_saves_at_a_milestone(lab: Lab) -> None:
    results, _ = lab.run(Counter, milestone=2.0, decision_timeout_s=0.0)
    assert [r.checkpoint for r in results if r.checkpoint] == ["checkpoint_000002"]


def test_a_class_that_cannot_be_saved_runs_all_the_same(lab: Lab) -> None:
    class Plain(hpctune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"done": True}

    _, end = lab.run(Plain, checkpoint_frequency=1, checkpoint_at_end=True)
    assert (end.outcome, end.checkpoint) == (Outcome.COMPLETED, None)


@pytest.mark.parametrize("name", ["export_model", "_export_model"])
def test_models_are_exported_at_the_end(name: str, lab: Lab) -> None:
    def export(self: Any, export_formats: Any, export_dir: str | None = None) -> dict[str, str]:
        Path(str(export_dir), "model").write_text(",".join(export_formats))
        return {}

    lab.run(type("Exporting", (Counter,), {name: export}), export_formats=("onnx", "h5"))
    assert lab.trial.root.joinpath("model").read_text() == "onnx,h5"


def test_a_step_must_return_a_dict(lab: Lab) -> None:
    class Wrong(hpctune.Trainable):
        def step(self) -> Any:
            return 3

    _, end = lab.run(Wrong)
    assert end.error is not None
    assert "Wrong.step() must return a dict" in end.error.message


def test_a_class_can_be_tried_out_without_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = InDirectory({}), InDirectory({})
    first.train()
    assert first.train()["training_iteration"] == 2
    second.restore(first.save(str(tmp_path / "saved")))
    assert (second.iteration, second.train()["count"]) == (2, 3)
    assert not first.reset({"x": 1})
    second.stop()


def test_a_checkpoint_outside_its_directory_is_refused(tmp_path: Path) -> None:
    class Elsewhere(Counter):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            return "/etc"

    with pytest.raises(CheckpointError, match="/etc"):
        stepping.write_checkpoint(Elsewhere({}), tmp_path)


# -- what travels with a trainable -------------------------------------------------------------------------------------


def test_parameters_and_resources_go_together_in_any_order(lab: Lab) -> None:
    def train(config: dict[str, Any], data: Any = None, scale: int = 0) -> dict[str, Any]:
        return {"x": float(data.sum()) * scale, "kind": type(data).__name__, "writable": bool(data.flags.writeable)}

    data = np.arange(4.0)
    one = hpctune.with_resources(hpctune.with_parameters(train, data=data, scale=2), {"cpu": 2})
    other = hpctune.with_parameters(hpctune.with_resources(train, {"cpu": 2}), data=data, scale=2)
    for attempt, trainable in enumerate((one, other), 1):
        row = lab.run(trainable, attempt=attempt)[0][0].row
        assert (row["x"], row["kind"], row["writable"]) == (12.0, "memmap", False)
        assert resources_of(trainable) == {"cpu": 2}


def test_a_class_gets_parameters_in_setup(lab: Lab) -> None:
    class WithData(hpctune.Trainable):
        def setup(self, config: dict[str, Any], a: int = 1, b: int = 2) -> None:
            self.values = [a, b]

        def step(self) -> dict[str, Any]:
            return {"values": self.values, "done": True}

    bound = hpctune.with_parameters(hpctune.with_resources(hpctune.with_parameters(WithData, a=5), {"cpu": 3}), b=7)
    assert lab.run(bound)[0][0].row["values"] == [5, 7]
    assert resources_of(bound) == {"cpu": 3}


def test_large_objects_are_written_once(lab: Lab) -> None:
    data = np.zeros(200_000)
    trainable = hpctune.with_parameters(lambda config, a=None, b=None: {"same": a.shape == b.shape}, a=data, b=data)
    assert lab.run(trainable)[0][0].row["same"]
    assert [p.name for p in lab.paths.objects.iterdir()] == ["000.npy"]
    assert Path(lab.paths.trainable).stat().st_size < 10_000


def test_a_stored_bundle_can_be_stored_again(lab: Lab) -> None:
    lab.run(hpctune.with_parameters(lambda config, a=None: {"sum": float(a.sum())}, a=np.ones(10)))
    again = bundle.load_trainable(lab.paths)
    assert lab.run(again, attempt=2)[0][0].row["sum"] == 10.0
    assert [p.name for p in lab.paths.objects.iterdir()] == ["000.npy"]


def test_pinned_objects(lab: Lab) -> None:
    pinned = hpctune.pin_in_object_store({"rows": [1, 2, 3]})
    results, _ = lab.run(lambda config: {"rows": hpctune.get_pinned_object(pinned)["rows"]})
    assert results[0].row["rows"] == [1, 2, 3]


def test_a_parameter_that_nobody_takes_is_refused() -> None:
    with pytest.raises(TrainableError, match="'dta'"):
        hpctune.with_parameters(lambda config, data=None: None, dta=1)


@pytest.mark.parametrize("resources", [3, "gpu", {"cpu": -1}])
def test_impossible_resources_are_refused(resources: Any) -> None:
    with pytest.raises(UsageError):
        hpctune.with_resources(lambda config: None, resources)


# -- the bundle --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_pickled_is_named(lab: Lab) -> None:
    lock = threading.Lock()

    def train(config: dict[str, Any]) -> None:
        with lock:
            pass

    with pytest.raises(TrainableError, match=r"part that cannot be pickled is lock = .*with_parameters"):
        bundle.save(lab.paths, train, None)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_code_that_others_can_write_is_not_loaded(lab: Lab, mode: int) -> None:
    bundle.save(lab.paths, len, None)
    Path(lab.paths.trainable).chmod(mode)
    with pytest.raises(StorageError, match="chmod go-w"):
        bundle.load_trainable(lab.paths)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_code_of_somebody_else_is_not_loaded(lab: Lab) -> None:
    bundle.save(lab.paths, len, None)
    os.chown(lab.paths.trainable, 12345, -1)
    with pytest.raises(StorageError, match="belongs to user 12345"):
        bundle.load_trainable(lab.paths)


def test_a_missing_or_damaged_bundle_is_said_to_be_so(lab: Lab) -> None:
    with pytest.raises(StorageError, match="is missing"):
        bundle.load_trainable(lab.paths)
    bundle.save(lab.paths, len, None)
    Path(lab.paths.trainable).write_bytes(b"rubbish\n")
    with pytest.raises(StorageError, match="damaged"):
        bundle.load_trainable(lab.paths)


def test_the_users_modules_are_found_before_installed_ones(lab: Lab, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "my_training_code.py").write_text("def train(config):\n    return {'x': 1}\n")
    before = list(sys.path)
    sys.path.insert(0, str(project))
    try:
        from importlib import import_module

        bundle.save(lab.paths, import_module("my_training_code").train, None)
    finally:
        sys.path[:] = before
        del sys.modules["my_training_code"]
    try:
        assert bundle.load_trainable(lab.paths)({}) == {"x": 1}
        assert sys.path[0] == str(project)
        assert not any("site-packages" in p for p in sys.path[: len(sys.path) - len(before)])
    finally:
        sys.path[:] = before


def test_driver_objects_come_back(lab: Lab) -> None:
    bundle.save(lab.paths, len, {"a": 1})
    assert bundle.load_driver_objects(lab.paths) == {"a": 1}
    assert bundle.original_cwd(lab.paths) == str(Path.cwd())


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_copied_and_a_staged_one_moved(lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("x")
    run, progress = RunKey("t", 1, 0), checkpoints.Progress(3, 1.5, 4)
    name = checkpoints.persist(source, lab.trial, run, progress).name
    assert (name, (source / "sub" / "file").exists()) == ("checkpoint_000003", True)
    assert checkpoints.read_progress(lab.trial.checkpoint(name)) == progress
    staged = checkpoints.staging(lab.trial)
    assert checkpoints.persist(staged, lab.trial, run, progress).name == name
    assert not lab.trial.checkpoint(name).joinpath("sub").exists(), "the later one of an iteration counts"
    assert not staged.exists()
    checkpoints.delete(lab.trial.checkpoint(name))
    checkpoints.delete(lab.trial.checkpoint(name))
    assert list(lab.trial.root.iterdir()) == []


def test_a_checkpoint_that_is_not_there_cannot_be_saved(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="checkpoint_000001"):
        checkpoints.persist(tmp_path / "nothing", lab.trial, RunKey("t", 1, 0), checkpoints.Progress(1))
    assert list(lab.trial.root.iterdir()) == []


def test_checkpoint_objects(tmp_path: Path) -> None:
    made = hpctune.Checkpoint.from_dict({"a": 1})
    assert made.to_dict() == {"a": 1}
    made.set_metadata({"x": 1})
    made.update_metadata({"y": 2})
    assert made.get_metadata() == {"x": 1, "y": 2}
    copy = hpctune.Checkpoint.from_directory(made.to_directory(tmp_path / "copy"))
    assert copy.to_dict() == {"a": 1}
    assert copy != made
    assert copy == hpctune.Checkpoint(tmp_path / "copy")
    assert pickle.loads(pickle.dumps(copy)) == copy
    with copy.as_directory() as directory:
        assert directory == str(tmp_path / "copy")
    with pytest.raises(CheckpointError):
        hpctune.Checkpoint.from_directory(tmp_path / "nothing")


# -- programs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hpctune: loss=0.3 step=5", {"loss": 0.3, "step": 5}),
        ("RESULT: loss=1e-3, name=adam", {"loss": 0.001, "name": "adam"}),
        ('hpctune: {"loss": 0.5, "eval": {"acc": 1}}', {"loss": 0.5, "eval": {"acc": 1}}),
        ("hpctune: nothing to do", None),
        ("loss=0.3", None),
        ("hpctune: {broken", None),
    ],
)
def test_printed_results(line: str, expected: Any) -> None:
    assert printed_result(line) == expected


def test_a_template_is_filled_and_quoted() -> None:
    command = hpctune.Command("train --lr {lr:.2f} --name {name} --depth {model.depth} {config.model.depth} {{x}}")
    words, variables = command.arguments({"lr": 0.123, "name": "a b; rm -rf /", "model/depth": 3})
    assert words == ["/bin/sh", "-c", 'train --lr 0.12 --name "${HPCTUNE_VALUE_0}" --depth 3 3 {x}']
    assert variables == {"HPCTUNE_VALUE_0": "a b; rm -rf /"}
    assert hpctune.Command(["train", "{name}"]).arguments({"name": "a b"}) == (["train", "a b"], {})


def test_an_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(TrainableError, match=r"\{lr\}.*Known fields: rate"):
        hpctune.Command("train {lr}").arguments({"rate": 1})


@pytest.mark.parametrize("bad", ["", [], 3])
def test_an_empty_command_is_refused(bad: Any) -> None:
    with pytest.raises(TrainableError):
        hpctune.Command(bad)


def test_a_program_reports_by_printing(lab: Lab) -> None:
    command = hpctune.Command('echo "hpctune: x={lr} env=$HPCTUNE_PARAM_LR"; echo other; echo "RESULT: x=2"')
    results, end = lab.run(command, {"lr": 0.5})
    assert [(r.row["x"], r.row.get("env")) for r in results] == [(0.5, 0.5), (2, None)]
    assert end.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("parse", [r"loss is (?P<loss>[\d.]+)", lambda line: {"loss": float(line.split()[-1])}])
def test_a_program_may_print_its_own_way(lab: Lab, parse: Any) -> None:
    results, _ = lab.run(hpctune.Command("echo loss is 0.25", parse=parse))
    assert results[0].row["loss"] == 0.25


def test_a_failing_program_says_its_last_words(lab: Lab) -> None:
    _, end = lab.run(hpctune.Command("echo no such data >&2; exit 3"))
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert "exit code 3" in end.error.message
    assert "no such data" in end.error.message


def test_a_program_is_ended_when_its_trial_is(lab: Lab) -> None:
    command = hpctune.Command("for i in 1 2 3; do echo hpctune: i=$i; done; sleep 600")
    results, end = lab.run(command, criteria={"i": 2})
    assert [r.row["i"] for r in results] == [1, 2]
    assert end.outcome is Outcome.COMPLETED


def test_a_program_finds_its_configuration_in_a_file(lab: Lab) -> None:
    results, _ = lab.run(hpctune.Command('echo "hpctune: $(cat $HPCTUNE_CONFIG)"'), {"lr": 0.5, "m": {"d": [1]}})
    assert (results[0].row["lr"], results[0].row["m"]) == (0.5, {"d": [1]})
