"""Trials of several processes, on this machine, with plain functions."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import TrainableError, UsageError
from hpctune.model.records import Outcome
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.worker import form_of, with_parameters, with_resources
from hpctune.worker.ranks.trainable import DistributedTrainable
from tests.support.worker_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def distributed(function: Any, ranks: int = 2, **options: Any) -> DistributedTrainable:
    return DistributedTrainable(function, PlacementGroupFactory([{"CPU": 1}] * ranks), **options)


def run(lab: Lab, trainable: DistributedTrainable, config: Any = None, **control: Any) -> Any:
    resources = Resources.parse(trainable.resources).to_json()
    return lab.run(trainable, config, resources=resources, **control)


def test_every_rank_knows_its_place_and_the_first_reports(lab: Lab, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        import hpctune as tune

        context = tune.get_context()
        names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK")
        told = {name: os.environ[name] for name in names}
        told["tf"] = json.loads(os.environ["TF_CONFIG"])
        told["context"] = [context.get_world_rank(), context.get_local_rank(), context.get_world_size()]
        told["id"] = tune.get_trial_id()
        told["bundles"] = len(tune.get_trial_resources().bundles)
        Path(config["diary"], str(context.get_world_rank())).write_text(json.dumps(told))
        for step in range(3):
            tune.report(loss=10.0 * context.get_world_rank() + step)

    end = run(lab, distributed(train, 3), {"diary": str(tmp_path)})
    assert end.outcome is Outcome.COMPLETED, end.error
    assert lab.column("loss") == [0.0, 1.0, 2.0]
    told = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [t["context"] for t in told] == [[0, 0, 3], [1, 1, 3], [2, 2, 3]]
    assert [(t["RANK"], t["LOCAL_RANK"], t["WORLD_SIZE"], t["LOCAL_WORLD_SIZE"], t["NODE_RANK"]) for t in told] == [
        (str(rank), str(rank), "3", "3", "0") for rank in range(3)
    ]
    assert len({(t["MASTER_ADDR"], t["MASTER_PORT"]) for t in told}) == 1
    workers = told[0]["tf"]["cluster"]["worker"]
    assert len(set(workers)) == 3
    assert [t["tf"]["task"] for t in told] == [{"type": "worker", "index": rank} for rank in range(3)]
    assert [(t["id"], t["bundles"]) for t in told] == [("t_00000", 3)] * 3


def test_an_error_of_any_rank_ends_all_with_its_traceback(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        if tune.get_context().get_world_rank() == 1:
            raise KeyError("of the second")
        time.sleep(60)

    began = time.monotonic()
    end = run(lab, distributed(train))
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert end.error.kind == "KeyError"
    assert "rank 1 of 2" in end.error.message
    assert "raise KeyError" in end.error.traceback
    assert time.monotonic() - began < 20


def test_an_error_that_follows_from_a_rank_s_death_is_not_blamed(lab: Lab, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        mark = Path(config["mark"])
        if tune.get_context().get_world_rank() == 1:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while not mark.exists():
            time.sleep(0.01)
        raise RuntimeError("connection closed by peer")

    end = run(lab, distributed(train), {"mark": str(tmp_path / "mark")})
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert "Rank 1 of 2" in end.error.message
    assert "killed by SIGKILL" in end.error.message


def test_a_rank_that_hangs_is_found_and_says_where_it_is(lab: Lab, tmp_path: Path) -> None:
    def the_hanging_place(there: Path) -> None:
        there.touch()
        time.sleep(60)

    def train(config: dict[str, Any]) -> None:
        there = Path(config["diary"], "there")
        if tune.get_context().get_world_rank() == 1:
            the_hanging_place(there)
        while not there.exists():
            time.sleep(0.01)
        tune.report(loss=1)

    end = run(lab, distributed(train, timeout_s=1.0), {"diary": str(tmp_path)})
    assert end.error is not None
    assert "Rank 1 did not return within 1 s" in end.error.message
    assert "the_hanging_place" in end.error.traceback


def test_a_stop_ends_all_ranks(lab: Lab, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        rank = tune.get_context().get_world_rank()
        Path(config["diary"], f"begun-{rank}").touch()
        while not Path(config["diary"], f"begun-{1 - rank}").exists():
            time.sleep(0.01)
        try:
            while True:
                tune.report(loss=1)
                time.sleep(0.01)
        finally:
            Path(config["diary"], f"cleaned-{rank}").touch()

    end = run(lab, distributed(train), {"diary": str(tmp_path)}, criteria={"training_iteration": 3})
    assert end.outcome is Outcome.COMPLETED
    assert len(lab.results()) == 3
    assert {path.name for path in tmp_path.glob("cleaned-*")} == {"cleaned-0", "cleaned-1"}


def test_checkpoints_are_the_first_rank_s_and_restored_on_all(lab: Lab, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        rank = tune.get_context().get_world_rank()
        checkpoint = tune.get_checkpoint()
        start = int(Path(checkpoint.path, "step").read_text()) if checkpoint is not None else 0
        Path(config["diary"], f"{rank}-from-{start}").touch()
        for step in range(start + 1, start + 3):
            with tune.checkpoint_dir(step) as directory:
                Path(directory, "step").write_text(str(step))
                Path(directory, f"by-{rank}").touch()
            tune.report(step=step)

    trainable = distributed(train)
    assert run(lab, trainable, {"diary": str(tmp_path)}).outcome is Outcome.COMPLETED
    (first, second) = (lab.trial.checkpoint(r.checkpoint) for r in lab.results() if r.checkpoint)
    assert (first / "step").read_text() == "1"
    assert {path.name for path in second.glob("by-*")} == {"by-0"}
    assert not [path for path in lab.trial.root.iterdir() if path.name.startswith(".tmp")]
    run(lab, trainable, {"diary": str(tmp_path)}, attempt=2, restore=str(second))
    assert {path.name for path in tmp_path.glob("*-from-2")} == {"0-from-2", "1-from-2"}
    assert lab.column("step", 2) == [3, 4]


def test_together_the_checkpoints_of_all_ranks_are_one(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        import tempfile

        rank = tune.get_context().get_world_rank()
        for step in range(2):
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, f"shard-{rank}").write_text(str(step))
                tune.report({"loss": rank + 1}, checkpoint=tune.Checkpoint.from_directory(directory))
            newest = tune.get_checkpoint()
            assert newest is not None
            assert Path(newest.path, f"shard-{1 - rank}").read_text() == str(step)

    end = run(lab, distributed(train, together=True))
    assert end.outcome is Outcome.COMPLETED, end.error
    assert lab.column("loss") == [1, 1]


def test_together_a_rank_that_reports_less_often(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report(loss=1)
        if tune.get_context().get_world_rank() == 0:
            tune.report(loss=2)

    end = run(lab, distributed(train, together=True))
    assert end.error is not None
    assert "Rank 1 has returned, and rank 0 reports once more" in end.error.message
    assert len(lab.results()) == 1


def test_a_checkpoint_that_cannot_be_saved_is_an_error_where_it_was_reported(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        directory = Path(config["directory"])
        directory.mkdir(exist_ok=True)
        checkpoint = tune.Checkpoint.from_directory(directory)
        directory.rmdir()
        tune.report({"loss": 1}, checkpoint=checkpoint)

    end = run(lab, distributed(train, ranks=1), {"directory": str(lab.paths.root / "gone")})
    assert end.error is not None
    assert end.error.kind == "CheckpointError"
    assert 'tune.report({"loss": 1}' in end.error.traceback
    assert len(lab.results()) == 1


def test_a_signal_that_only_a_rank_gets_ends_the_run(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        if tune.get_context().get_world_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        while True:
            tune.report(loss=1)
            time.sleep(0.02)

    end = run(lab, distributed(train))
    assert end.outcome is Outcome.INTERRUPTED
    assert "SIGTERM" in end.reason


def test_a_returned_value_and_yielded_ones(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> Any:
        yield {"loss": 1}
        yield {"loss": 2}

    assert run(lab, distributed(train)).outcome is Outcome.COMPLETED
    assert lab.column("loss") == [1, 2]
    assert run(lab, distributed(lambda config: {"loss": 3}), attempt=2).outcome is Outcome.COMPLETED
    assert lab.column("loss", 2) == [3]


def test_several_ranks_of_one_bundle(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report(size=tune.get_context().get_world_size())

    run(lab, distributed(train, ranks=2, per_bundle=2))
    assert lab.column("size") == [4]


def test_what_a_process_that_cannot_start_says(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    end = run(lab, distributed(lambda config: None))
    assert end.error is not None
    assert "ended with exit code 1 before all ranks had started" in end.error.message


def test_forms() -> None:
    def train(config: dict[str, Any], data: Any) -> None: ...

    trainable = with_parameters(distributed(train), data=[1])
    assert form_of(trainable) == "distributed"
    more = with_resources(trainable, PlacementGroupFactory([{"CPU": 1}] * 3))
    assert len(more.resources.bundles) == 3
    assert more.function is trainable.function
    with pytest.raises(UsageError, match="1 process for each bundle"):
        with_resources(trainable, {"cpu": 2})
    with pytest.raises(TrainableError, match="Only a function"):
        form_of(distributed(tune.Command("true")))
