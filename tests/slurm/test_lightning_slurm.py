"""Lightning in jobs of a real Slurm: it detects Slurm, and its signal handlers must not fight with ours."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from hpctune.model import events as e

from .cluster import SlurmCluster, wait_for
from .search import Search

pytestmark = [pytest.mark.slurm, pytest.mark.nightly, pytest.mark.timeout(400)]

CONFIG = """
import os, signal
import hpctune as tune


def train(config):
    import lightning, torch
    from lightning.pytorch.plugins.environments import SLURMEnvironment
    from hpctune.integration.pytorch_lightning import TuneReportCheckpointCallback

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            import time
            time.sleep(0.4)
            return self.layer(batch[0]).square().mean()

        def validation_step(self, batch, index):
            self.log("val_loss", self.layer(batch[0]).square().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.01)

    torch.manual_seed(0)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4)), 8)
    own = [SLURMEnvironment(auto_requeue=True, requeue_signal=getattr(signal, config["signal"]))]
    trainer = lightning.Trainer(
        max_epochs=8, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, plugins=own if config["signal"] != "SIGCONT" else None,
        callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"}, on="validation_end")],
    )
    checkpoint = tune.get_checkpoint()
    path = None if checkpoint is None else f"{checkpoint.path}/checkpoint"
    trainer.fit(Model(), data, data, ckpt_path=path, weights_only=False)


tuner = tune.Tuner(
    train,
    param_space={"signal": tune.grid_search(["SIGCONT", "SIGUSR1", "SIGUSR2"]), "who": 0},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
    run_config=tune.RunConfig(name="run"),
)
"""


@pytest.mark.parametrize("what", ["preempted", "time limit", "told by SIGTERM"])
def test_lightning_detects_slurm_and_nothing_is_lost(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search], what: str
) -> None:
    """With Lightning's own detection, with a requeue signal of its own, and with one that is ours (SIGUSR2)."""
    pytest.importorskip("lightning")
    search = searches(CONFIG, "-p", "main", "--mem", "1500M")  # what torch alone needs

    def results() -> list[int]:
        return [len(file.read_text().splitlines()) for file in search.experiment.glob("*/result.json")]

    wait_for(lambda: len(results()) == 3 and min(results()) >= 2, 200, "two results of each")
    jobs = {job.id for job in slurm_cluster.squeue()}
    for job in jobs:
        if what == "preempted":
            slurm_cluster.run("scontrol", "requeue", job)
        else:
            slurm_cluster.run("scancel", f"--signal={'USR2' if what == 'time limit' else 'TERM'}", job)
    out = search.finish(within_s=250)
    for file in search.experiment.glob("*/result.json"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [row["training_iteration"] for row in rows] == list(range(1, 9)), out
        assert "hpc_ckpt" not in " ".join(path.name for path in file.parent.rglob("*")), "Lightning's own requeue"
    ended = Counter(event.trial_id for event in search.facts() if isinstance(event, e.TrialEnded))
    assert sorted(ended.values()) == [1, 1, 1]
