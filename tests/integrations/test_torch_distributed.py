"""Distributed trials of the real torch, on this machine, where it is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.integration.torch import DistributedTrainableCreator
from hpctune.train import ScalingConfig
from hpctune.train.torch import TorchConfig, TorchTrainer

pytestmark = pytest.mark.nightly


@pytest.fixture(autouse=True)
def _torch() -> None:
    pytest.importorskip("torch")


def averaging(config: dict[str, Any]) -> None:
    """Each rank has other data; after one step all have the same weight, which is what the mean gradient gives."""
    import torch
    import torch.distributed as dist

    from hpctune.integration.torch import distributed_checkpoint_dir, is_distributed_trainable

    assert is_distributed_trainable()
    rank, size = dist.get_rank(), dist.get_world_size()
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model.module.weight.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    for step in range(1, 4):
        optimizer.zero_grad()
        own = float(rank + 1)
        (model(torch.tensor([[own]])) * step).sum().backward()
        gradient = float(model.module.weight.grad)
        optimizer.step()
        weights = [torch.zeros(1, 1) for _ in range(size)]
        dist.all_gather(weights, model.module.weight.data)
        with distributed_checkpoint_dir(step) as directory:
            torch.save(model.module.state_dict(), Path(directory, "model.pt"))
        tune.report(gradient=gradient, weights=[float(w) for w in weights], step=step)


def test_gradients_are_averaged(tmp_path: Path) -> None:
    trainable = DistributedTrainableCreator(averaging, num_workers=2, backend="gloo", timeout_s=60)
    analysis = tune.run(
        trainable, config={"lr": 0.5}, name="e", local_dir=str(tmp_path), verbose=0, cluster=tune.LocalOptions(cpus=2)
    )
    (trial,) = analysis.trials
    frame = analysis.trial_dataframes[trial.logdir]
    assert list(frame["gradient"]) == [1.5 * step for step in (1, 2, 3)]
    weight = 1.0 - 0.5 * 1.5 * (1 + 2 + 3)
    assert trial.last_result["weights"] == [weight, weight]
    assert (Path(trial.checkpoint.path) / "model.pt").is_file()


def prepared(config: dict[str, Any]) -> None:
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from hpctune import train
    from hpctune.train.torch import get_device, prepare_data_loader, prepare_model

    torch.manual_seed(0)
    model = prepare_model(torch.nn.Linear(1, 1))
    assert type(model).__name__ == "DistributedDataParallel"
    loader = prepare_data_loader(DataLoader(TensorDataset(torch.arange(8.0).reshape(8, 1)), batch_size=2, shuffle=True))
    loader.sampler.set_epoch(1)
    seen = sorted(float(x) for (batch,) in loader for x in batch)
    for (batch,) in loader:
        model(batch).sum().backward()
    every: list[Any] = [None, None]
    torch.distributed.all_gather_object(every, seen)
    train.report({"seen": every, "device": get_device().type, "lr": config["lr"]})


def test_a_prepared_model_and_loader(tmp_path: Path) -> None:
    trainer = TorchTrainer(
        prepared,
        train_loop_config={"lr": 1},
        scaling_config=ScalingConfig(num_workers=2),
        torch_config=TorchConfig(timeout_s=60, init_method="tcp"),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="e", verbose=0),
    )
    space = {"train_loop_config": {"lr": tune.grid_search([2])}}
    (result,) = tune.Tuner(trainer, param_space=space, cluster=tune.LocalOptions(cpus=2)).fit()
    assert result.metrics is not None, result.error
    first, second = result.metrics["seen"]
    assert sorted(first + second) == [float(x) for x in range(8)]
    assert (result.metrics["device"], result.metrics["lr"]) == ("cpu", 2)


def hanging(config: dict[str, Any]) -> None:
    import time

    import torch
    import torch.distributed as dist

    if dist.get_rank() == 1:
        time.sleep(100)
    dist.all_reduce(torch.zeros(1))


def test_the_timeout_is_that_of_the_process_group(tmp_path: Path) -> None:
    trainable = DistributedTrainableCreator(hanging, num_workers=2, timeout_s=3)
    with pytest.raises(tune.TuneError):
        tune.run(trainable, name="e", local_dir=str(tmp_path), verbose=0, cluster=tune.LocalOptions(cpus=2))
    (error,) = (tmp_path / "e").glob("*/error.txt")
    assert "all_reduce" in error.read_text()


RAY_SCRIPT = """
import tempfile, os
import torch
import ray
from ray import train, tune
from ray.train import Checkpoint, ScalingConfig, RunConfig
from ray.train.torch import TorchConfig, TorchTrainer, prepare_model


def loop(config):
    model = prepare_model(torch.nn.Linear(1, 1))
    for epoch in range(2):
        with tempfile.TemporaryDirectory() as directory:
            checkpoint = None
            if train.get_context().get_world_rank() == 0:
                torch.save(model.state_dict(), os.path.join(directory, "model.pt"))
                checkpoint = Checkpoint.from_directory(directory)
            train.report({"loss": config["lr"] * epoch}, checkpoint=checkpoint)


ray.init()
trainer = TorchTrainer(loop, scaling_config=ScalingConfig(num_workers=2), torch_config=TorchConfig(backend="gloo"))
tuner = tune.Tuner(
    trainer,
    param_space={"train_loop_config": {"lr": tune.grid_search([0.5])}},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
    run_config=RunConfig(storage_path=os.getcwd(), name="e", verbose=0),
)
best = tuner.fit().get_best_result()
with best.checkpoint.as_directory() as directory:
    print("best", best.metrics["loss"], os.listdir(directory))
"""


def run_script(*arguments: str, folder: Path) -> str:
    hpctune = Path(sys.executable).with_name("hpctune")
    command = [str(hpctune), "run", *arguments, "--cluster", "local"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_script_of_ray_s(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(RAY_SCRIPT)
    out = run_script("script.py", folder=tmp_path)
    assert "best 0.5" in out
    assert "model.pt" in out


def test_the_config_of_the_project(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "configs" / "torch_ddp.py"
    run_script(str(config), "--name", "e", "--storage-path", "results", folder=tmp_path)
    rows = [path.read_text().splitlines() for path in tmp_path.glob("results/e/*/result.json")]
    assert len(rows) == 4
    assert max(map(len, rows)) == 10


def test_the_script_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "distributed.md").read_text()
    (script,) = re.findall(r"^```python file=ddp.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "ddp.py").write_text(script.replace('{"CPU": 2}', '{"CPU": 1}'))
    run_script("ddp.py", folder=tmp_path)


JAX_SCRIPT = """
import hpctune as tune
from hpctune.train import BackendConfig, DataParallelTrainer, RunConfig, ScalingConfig

BACKEND

def train(config):
    import jax
    from jax.experimental import multihost_utils

    total = multihost_utils.process_allgather(jax.numpy.ones(1) * (jax.process_index() + 1)).sum()
    tune.report({"total": float(total), "count": jax.process_count()})


trainer = DataParallelTrainer(train, backend_config=Jax(), scaling_config=ScalingConfig(num_workers=2))
(result,) = tune.Tuner(trainer, run_config=RunConfig(verbose=0)).fit()
print("found", result.metrics["total"], result.metrics["count"])
"""


def test_jax_as_in_the_documentation(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "distributed.md").read_text()
    (backend,) = re.findall(r"^class Jax.*?(?=^trainer)", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "script.py").write_text(JAX_SCRIPT.replace("BACKEND", backend))
    assert "found 3.0 2" in run_script("script.py", folder=tmp_path)


def keras_loop(config: dict[str, Any]) -> None:
    import tensorflow as tf

    import hpctune as tune

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    total = strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)
    tune.report({"replicas": strategy.num_replicas_in_sync, "total": float(total)})


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="it is not installed")  # not beside torch in a process
def test_tensorflow(tmp_path: Path) -> None:
    from hpctune.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        keras_loop,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="e", verbose=0),
    )
    (result,) = tune.Tuner(trainer, cluster=tune.LocalOptions(cpus=2)).fit()
    assert result.metrics is not None, result.error
    assert (result.metrics["replicas"], result.metrics["total"]) == (2, 2.0)


def lightning_loop(config: dict[str, Any]) -> None:
    import lightning.pytorch as pl
    import torch

    import hpctune as tune
    from hpctune.integration.pytorch_lightning import TuneReportCheckpointCallback

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch).pow(2).mean()
            self.log("loss", loss, sync_dist=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        strategy="ddp",
        devices=tune.get_context().get_local_world_size(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[TuneReportCheckpointCallback(filename="model.ckpt", on="train_epoch_end")],
    )
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=2))
    assert trainer.world_size == 2


@pytest.mark.parametrize("together", [True, False], ids=["trainer", "creator"])
def test_lightning(together: bool, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    made: Any = DistributedTrainableCreator(lightning_loop, num_workers=2, timeout_s=60)
    if together:
        made = TorchTrainer(
            lightning_loop, scaling_config=ScalingConfig(num_workers=2), torch_config=TorchConfig(timeout_s=60)
        )
    run_config = tune.RunConfig(storage_path=str(tmp_path), name="e", verbose=0)
    (result,) = tune.Tuner(made, cluster=tune.LocalOptions(cpus=2), run_config=run_config).fit()
    assert result.metrics is not None, result.error
    assert result.metrics["training_iteration"] == 2
    assert result.checkpoint is not None
    assert (Path(result.checkpoint.path) / "model.ckpt").is_file()
