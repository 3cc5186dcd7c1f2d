"""Trials of several processes on a real Slurm: the ranks are tasks of one job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .cluster import SlurmCluster
from .search import Search

pytestmark = pytest.mark.slurm

CONFIG = """
import json, os, pathlib
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig


def train(config):
    context = tune.get_context()
    rank, checkpoint = context.get_world_rank(), tune.get_checkpoint()
    start = int(pathlib.Path(checkpoint.path, "step").read_text()) if checkpoint is not None else 0
    for step in range(start + 1, 4):
        if config["who"] == 1 and rank == 3 and step == 2:
            raise ArithmeticError("of the last rank")
        with tune.checkpoint_dir(step) as directory:
            if rank == 0:
                pathlib.Path(directory, "step").write_text(str(step))
            pathlib.Path(directory, f"shard-{rank}").write_text(os.environ["SLURMD_NODENAME"])
        tune.report(step=step, loss=rank, size=context.get_world_size(), job=os.environ["SLURM_JOB_ID"],
                    nodes=os.environ["SLURM_STEP_NUM_NODES"], local=context.get_local_world_size())


tuner = tune.Tuner(
    DataParallelTrainer(
        lambda config: train(config), scaling_config=ScalingConfig(num_workers=4, placement_strategy="PACK")
    ),
    param_space={"train_loop_config": {"who": tune.grid_search([0, 1])}},
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(nodes=2, ntasks_per_node=2),
)
"""


def test_ranks_are_tasks_of_one_job(slurm_cluster: SlurmCluster, searches: Callable[..., Search]) -> None:
    search = searches(CONFIG, "-p", "main")
    out = search.finish(1)
    trials = {_config(path)["who"]: path.parent for path in search.experiment.glob("*/params.json")}
    rows = [json.loads(line) for line in (trials[0] / "result.json").read_text().splitlines()]
    assert [(row["step"], row["loss"], row["size"], row["nodes"], row["local"]) for row in rows] == [
        (step, 0, 4, "2", 2) for step in (1, 2, 3)
    ], out
    assert len({row["job"] for row in rows}) == 1
    (newest, *_) = sorted(trials[0].glob("checkpoint_*"), reverse=True)
    nodes = {path.name: path.read_text() for path in newest.glob("shard-*")}
    assert nodes["shard-0"] == nodes["shard-1"] != nodes["shard-2"] == nodes["shard-3"]
    error = (trials[1] / "error.txt").read_text()
    assert "Rank 3 of 4" in error
    assert "raise ArithmeticError" in error


def _config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["train_loop_config"]
    return found
