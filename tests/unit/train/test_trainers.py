"""Trainers: their arguments, their resources, and one that runs."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.cluster.slurm.placement import place
from hpctune.errors import MissingPackageError, NotYetSupportedError, TrainableError, UsageError
from hpctune.integration import horovod, tensorflow, torch
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.train import DataParallelTrainer, ScalingConfig, TrainingFailedError
from hpctune.train.torch import TorchConfig, TorchTrainer
from hpctune.worker.ranks.world import World


def loop(config: dict[str, Any]) -> None: ...


def requested(trainer: DataParallelTrainer, config: dict[str, Any] | None = None) -> PlacementGroupFactory:
    found: PlacementGroupFactory = trainer.as_trainable().resources(config or {})
    return found


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"datasets": {"train": 1}}, NotYetSupportedError, "Ray Data"),
        ({"metadata": {"a": 1}}, NotYetSupportedError, "train_loop_config"),
        ({"scaling_config": {"num_workers": 2}}, UsageError, "ScalingConfig"),
        ({"scaling_config": ScalingConfig(num_workers=0)}, UsageError, "num_workers=0"),
        ({"run_config": {}}, UsageError, "RunConfig"),
        ({"torch_config": "gloo"}, UsageError, "backend_config"),
        (
            {"torch_config": TorchConfig(backend="nccl"), "scaling_config": ScalingConfig(num_workers=2)},
            UsageError,
            r"ScalingConfig\(use_gpu=True\)",
        ),
        ({"resume_from_checkpoint": tune.Checkpoint("/nonexistent")}, UsageError, "/nonexistent"),
    ],
)
def test_impossible_arguments(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        TorchTrainer(loop, **arguments)


@pytest.mark.parametrize("function", [3, lambda a, b: None])
def test_an_impossible_function(function: Any) -> None:
    with pytest.raises(TrainableError, match="train_loop_per_worker"):
        TorchTrainer(function)


@pytest.mark.parametrize("options", [{"backend": ""}, {"init_method": "file"}, {"timeout_s": 0}, {"timeout_s": "x"}])
def test_an_impossible_process_group(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        TorchConfig(**options)


def test_with_gpus_the_process_group_is_of_nccl_and_each_process_has_its_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Any, ...]] = []
    fake = types.SimpleNamespace(
        device=lambda name: types.SimpleNamespace(type=name.partition(":")[0], name=name),
        cuda=types.SimpleNamespace(
            is_available=lambda: True,
            device_count=lambda: 4,
            set_device=lambda device: calls.append(("device", device.name)),
        ),
        distributed=types.SimpleNamespace(
            init_process_group=lambda backend, **how: calls.append((backend, how["rank"], how["world_size"]))
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", fake)  # type: ignore[arg-type]
    world = World(rank=5, size=8, local_rank=1, local_size=4, node_rank=1, nodes=2, addresses=("n0:1",), gpus=1.0)
    monkeypatch.setattr("hpctune.train.torch.prepare.current_rank", lambda: types.SimpleNamespace(world=world))
    TorchConfig().start(world, 60.0)
    assert calls == [("device", "cuda:1"), ("nccl", 5, 8)], "the device first: nccl takes the current one"
    calls.clear()
    world = replace(world, gpus=0.0)
    TorchConfig().start(world, 60.0)
    assert calls == [("gloo", 5, 8)]
    with pytest.raises(UsageError, match="needs GPUs"):
        TorchTrainer(loop, torch_config=TorchConfig("nccl")).backend_config.start(world, 60.0)


def test_resources_are_those_of_the_processes() -> None:
    scaling = ScalingConfig(num_workers=3, use_gpu=True, resources_per_worker={"CPU": 2}, placement_strategy="SPREAD")
    assert requested(TorchTrainer(loop, scaling_config=scaling)) == PlacementGroupFactory(
        [{"CPU": 2, "GPU": 1}] * 3, "SPREAD"
    )
    stated = ScalingConfig(num_workers=2, trainer_resources={"CPU": 1, "memory": 8})
    assert requested(TorchTrainer(loop, scaling_config=stated)).bundles == [{"CPU": 2, "memory": 8}, {"CPU": 1}]


def test_a_search_over_the_number_of_processes() -> None:
    trainer = TorchTrainer(loop, scaling_config=ScalingConfig(resources_per_worker={"CPU": 2}))
    space = trainer.as_param_space({"scaling_config": ScalingConfig(num_workers=tune.grid_search([2, 4]))})
    assert space == {"scaling_config": {"num_workers": {"grid_search": [2, 4]}}}
    assert requested(trainer, {"scaling_config": {"num_workers": 4}}).bundles == [{"CPU": 2}] * 4
    with pytest.raises(UsageError, match="num_wrkers"):
        requested(trainer, {"scaling_config": {"num_wrkers": 4}})
    with pytest.raises(UsageError, match="train_loop_config"):
        tune.Tuner(trainer, param_space={"lr": tune.uniform(0, 1)})


def test_a_trainer_trains(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        import tempfile

        import hpctune as tune

        checkpoint = tune.get_checkpoint()
        start = int(Path(checkpoint.path, "step").read_text()) if checkpoint is not None else 0
        if config.get("fail") and tune.get_context().get_world_rank() == 1:
            raise ValueError("as told")
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "step").write_text(str(start + 1))
            saved = tune.Checkpoint.from_directory(directory) if tune.get_context().get_world_rank() == 0 else None
            tune.report({"step": start + config["add"], "lr": config["lr"]}, checkpoint=saved)

    def trainer(**options: Any) -> DataParallelTrainer:
        return DataParallelTrainer(
            train,
            train_loop_config={"add": 1, "lr": 0.1, **options},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=tune.RunConfig(storage_path=str(tmp_path), name="once", verbose=0),
            resume_from_checkpoint=given,
        )

    given = None
    first = trainer().fit()
    assert first.metrics is not None
    assert first.metrics["step"] == 1
    given = first.checkpoint
    space = {"train_loop_config": {"lr": tune.grid_search([0.2])}}
    searched = tune.RunConfig(storage_path=str(tmp_path), name="searched", verbose=0)
    (second,) = tune.Tuner(trainer(), param_space=space, run_config=searched, cluster="debug").fit()
    assert second.metrics is not None
    assert (second.metrics["step"], second.metrics["lr"]) == (2, 0.2)
    failing = trainer(fail=True)
    failing.run_config = tune.RunConfig(storage_path=str(tmp_path), name="failing", verbose=0)
    with pytest.raises(TrainingFailedError, match="as told"):
        failing.fit()


def trainer_in_a_trial(config: dict[str, Any]) -> None:
    from hpctune.integration.ray_train import TuneReportCallback

    def train(config: dict[str, Any]) -> None:
        import time

        for step in range(1000):
            saved = tune.Checkpoint.from_dict({"step": step}) if step == 1 else None
            tune.report({"loss": config["x"] * step, "ranks": tune.get_context().get_world_size()}, checkpoint=saved)
            time.sleep(0.01)

    run_config = tune.RunConfig(
        name=f"inner-{tune.get_context().get_trial_id()}",
        storage_path=config["folder"],
        callbacks=[TuneReportCallback()],
        verbose=0,
    )
    DataParallelTrainer(
        train, train_loop_config=config, scaling_config=ScalingConfig(num_workers=2), run_config=run_config
    ).fit()


def test_a_trainer_in_a_trial_reports_to_it_and_ends_with_it(tmp_path: Path) -> None:
    outer = tune.RunConfig(name="outer", storage_path=str(tmp_path), stop={"training_iteration": 3}, verbose=0)
    space = {"x": 2, "folder": str(tmp_path)}
    (result,) = tune.Tuner(trainer_in_a_trial, param_space=space, run_config=outer, cluster="local").fit()
    assert result.error is None
    frame = result.metrics_dataframe
    assert list(frame["loss"]) == [0, 2, 4]
    assert set(frame["ranks"]) == {2}
    (inner,) = tmp_path.glob("inner-*")
    (saved,) = inner.glob("*/checkpoint_*")
    assert [place == str(saved) for place in frame["checkpoint_path"]] == [False, True, False]
    (trial,) = tune.ExperimentAnalysis(str(inner)).trials
    assert trial.status == trial.PENDING, "its job was cancelled"


def half_trained(config: dict[str, Any]) -> None:
    def train(config: dict[str, Any]) -> None:
        start = (tune.get_checkpoint() or tune.Checkpoint.from_dict({"step": 0})).to_dict()["step"]
        for step in range(start + 1, 5):
            if step == 3 and not Path(config["folder"], "failed").exists():
                Path(config["folder"], "failed").touch()
                raise RuntimeError("once")
            tune.report({"step": step, "started": start}, checkpoint=tune.Checkpoint.from_dict({"step": step}))

    name = f"inner-{tune.get_trial_id()}"
    run_config = tune.RunConfig(name=name, storage_path=config["folder"], verbose=0)
    metrics = DataParallelTrainer(train, train_loop_config=config, run_config=run_config).fit().metrics
    tune.report({"started": metrics["started"]})  # type: ignore[index]


def test_a_trial_that_is_tried_again_goes_on_with_the_run_of_its_trainer(tmp_path: Path) -> None:
    failure = tune.FailureConfig(max_failures=1)
    outer = tune.RunConfig(name="outer", storage_path=str(tmp_path), failure_config=failure, verbose=0)
    space = {"folder": str(tmp_path)}
    (result,) = tune.Tuner(half_trained, param_space=space, run_config=outer, cluster="local").fit()
    assert result.error is None
    assert result.metrics is not None
    assert result.metrics["started"] == 2


# -- the creators of Ray Tune 1.x -------------------------------------------------------------------------------------


def test_so_many_on_each_node() -> None:
    made = torch.DistributedTrainableCreator(loop, 4, num_cpus_per_worker=2, num_workers_per_host=2)
    assert made.resources == PlacementGroupFactory([{"CPU": 4}] * 2, "STRICT_SPREAD")
    placed = place(Resources.parse(made.resources), tune.SlurmOptions())
    assert (placed.nodes, placed.tasks_per_node, placed.cpus_per_task) == (2, 1, 4)
    assert made.per_bundle == 2
    anywhere = tensorflow.DistributedTrainableCreator(loop, num_gpus_per_worker=1)
    assert anywhere.resources == PlacementGroupFactory([{"CPU": 1, "GPU": 1}] * 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_workers": 0}, "num_workers"),
        ({"num_workers": 3, "num_workers_per_host": 2}, "multiple"),
        ({"num_workers_per_host": 0}, "num_workers_per_host"),
        ({"num_cpus_per_worker": -1}, "num_cpus_per_worker"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"backend": "nccl"}, "needs GPUs"),
        ({"use_gpu": False, "num_gpus_per_worker": 1}, "exclude"),
    ],
)
def test_impossible_numbers(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        torch.DistributedTrainableCreator(loop, **arguments)


def test_the_old_name_for_a_gpu() -> None:
    assert torch.DistributedTrainableCreator(loop, use_gpu=True).resources.bundles == [{"CPU": 1, "GPU": 1}]


def test_only_a_function_is_distributed() -> None:
    with pytest.raises(TrainableError, match="Only a function"):
        torch.DistributedTrainableCreator(tune.Trainable)


def test_horovod_says_what_to_use() -> None:
    with pytest.raises(MissingPackageError, match=r"hpctune\.integration\.torch"):
        horovod.DistributedTrainableCreator(loop)


def test_outside_a_trial() -> None:
    assert not torch.is_distributed_trainable()
    with torch.distributed_checkpoint_dir(1, disable=True) as directory:
        assert Path(directory).is_dir()
    assert not Path(directory).exists()
