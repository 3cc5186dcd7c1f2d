"""Trials of several processes on a real Slurm: the ranks are tasks of one job."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e

from .cluster import SlurmCluster, wait_for
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


DDP = """
import json, os, pathlib, time
import torch
import torch.distributed as dist
import hpctune as tune
from hpctune.integration.torch import DistributedTrainableCreator, distributed_checkpoint_dir


def train(config):
    rank, size, node = dist.get_rank(), dist.get_world_size(), os.environ["SLURMD_NODENAME"]
    with open(config["diary"], "a") as diary:
        diary.write(json.dumps({"who": config["who"], "rank": rank, "node": node, "pid": os.getpid()}) + "\\n")
    model, start = torch.nn.Linear(1, 1, bias=False), 0
    torch.nn.init.ones_(model.weight)
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        start = int(pathlib.Path(checkpoint.path, "step").read_text())
        model.load_state_dict(torch.load(pathlib.Path(checkpoint.path, "model.pt")))
    model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(start + 1, 5):
        optimizer.zero_grad()
        (model(torch.tensor([[float(rank)]])) * (config["who"] + 1)).sum().backward()
        gradient = float(model.module.weight.grad)
        optimizer.step()
        weights = [torch.zeros(1, 1) for _ in range(size)]
        dist.all_gather(weights, model.module.weight.data)
        with distributed_checkpoint_dir(step) as directory:
            pathlib.Path(directory, "step").write_text(str(step))
            pathlib.Path(directory, f"by-{rank}").touch()
            torch.save(model.module.state_dict(), pathlib.Path(directory, "model.pt"))
        tune.report(loss=config["who"] / step, step=step, gradient=gradient, weights=[float(w) for w in weights],
                    nodes=os.environ["SLURM_STEP_NUM_NODES"])
        time.sleep(0.5)


tuner = tune.Tuner(
    DistributedTrainableCreator(train, num_workers=4, num_workers_per_host=2, backend="gloo", timeout_s=60),
    param_space={"who": tune.grid_search(list(range(8))), "diary": "DIARY"},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", max_concurrent_trials=2,
        scheduler=tune.schedulers.ASHAScheduler(grace_period=1, max_t=4, reduction_factor=2),
    ),
    run_config=tune.RunConfig(name="run"),
)
"""


@pytest.mark.nightly
@pytest.mark.timeout(420)
def test_a_search_with_torch_whose_node_is_lost(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    diary = tmp_path / "diary.jsonl"
    diary.touch()
    search = searches(DDP.replace("DIARY", str(diary)), "-p", "main", "--mem", "3G")

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in diary.read_text().splitlines()]

    wait_for(lambda: any(f.stat().st_size for f in search.experiment.glob("*/result.json")), 120, "a result")
    victim = next(r for r in lines() if r["rank"] == 3)  # it is not on the node of its head
    slurm_cluster.kill_slurmd(victim["node"])
    for line in lines():
        if line["node"] == victim["node"]:
            with suppress(ProcessLookupError):
                os.kill(line["pid"], signal.SIGKILL)
    out = search.finish(within_s=270)
    facts = search.facts()
    ended = Counter(event.trial_id for event in facts if isinstance(event, e.TrialEnded))
    assert len(ended) == 8, out
    assert set(ended.values()) == {1}
    assert max(Counter((r["who"], r["rank"]) for r in lines()).values()) > 1, "no trial was started again"
    assert {row["nodes"] for rows in search.rows().values() for row in rows} == {"2"}
    for who, rows in search.rows().items():
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        mean = (0 + 1 + 2 + 3) / 4 * (who + 1)
        assert {row["gradient"] for row in rows} == {mean}
        assert [row["weights"] for row in rows] == [[1 - 0.5 * mean * row["step"]] * 4 for row in rows]
    saved = [*search.experiment.glob("*/checkpoint_*")]
    assert saved
    assert all({path.name for path in each.glob("by-*")} == {"by-0"} for each in saved)


WORKERS = """
import os, pathlib
import hpctune as tune
from hpctune.integration.tensorflow import DistributedTrainableCreator


def train(config):
    tune.report(size=tune.get_context().get_world_size(), job=os.environ["SLURM_JOB_ID"],
                nodes=os.environ["SLURM_STEP_NUM_NODES"])


tuner = tune.Tuner(
    DistributedTrainableCreator(train, num_workers=4, num_workers_per_host=2),
    param_space={"who": tune.grid_search([0, 1])},
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(workers=1),
)
"""


@pytest.mark.nightly
def test_a_worker_that_stays_holds_trials_of_several_nodes(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search]
) -> None:
    search = searches(WORKERS, "-p", "main")
    search.finish()
    rows = [row for rows in search.rows().values() for row in rows]
    assert [(row["size"], row["nodes"]) for row in rows] == [(4, "2")] * 2
    assert len({row["job"] for row in rows}) == 1


DIFFERENT = """
import json, os, pathlib, time
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig


def train(config):
    context, checkpoint = tune.get_context(), tune.get_checkpoint()
    rank = context.get_world_rank()
    start = int(pathlib.Path(checkpoint.path, "step").read_text()) if checkpoint is not None else 0
    own = {"node": os.environ["SLURMD_NODENAME"], "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "pid": os.getpid()}
    for step in range(start + 1, 6):
        with tune.checkpoint_dir(step) as directory:
            pathlib.Path(directory, f"rank-{rank}").write_text(json.dumps(own))
            if rank == 0:
                pathlib.Path(directory, "step").write_text(str(step))
        tune.report(step=step, loss=1 / step, size=context.get_world_size(), job=os.environ["SLURM_JOB_ID"])
        while step == 2 and not pathlib.Path("GO").exists():
            time.sleep(0.1)


tuner = tune.Tuner(
    DataParallelTrainer(train, scaling_config=ScalingConfig(
        num_workers=3, use_gpu=True, resources_per_worker={"CPU": 1, "GPU": 1}, trainer_resources={"CPU": 2},
        placement_strategy="SPREAD",
    )),
    param_space={"train_loop_config": {"who": tune.grid_search([0, 1])}},
    run_config=tune.RunConfig(name="run"),
)
"""


@pytest.mark.parametrize("lost", ["requeued", pytest.param("node", marks=pytest.mark.nightly)])
def test_bundles_that_differ_are_a_heterogeneous_job(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search], lost: str, tmp_path: Path
) -> None:
    """Each part has what it asks for; after a preemption of the job, or the loss of a node, all begins again."""
    go = tmp_path / "go"
    search = searches(DIFFERENT.replace("GO", str(go)), "-p", "main")
    wait_for(lambda: sum(f.stat().st_size > 0 for f in search.experiment.glob("*/result.json")) == 2, 60, "results")
    (job, *_) = {row["job"] for rows in search.rows().values() for row in rows}
    parts = slurm_cluster.run("squeue", "--noheader", f"--job={job}", "--format=%i %C %D %b").splitlines()
    assert [part.split()[0] for part in parts] == [f"{job}+0", f"{job}+1"]
    assert [part.split()[1:3] for part in parts] == [["3", "1"], ["2", "2"]]
    if lost == "requeued":
        slurm_cluster.run("scontrol", "requeue", job)
    else:
        saved = next(path for path in search.experiment.glob("*/checkpoint_*/rank-2"))
        last = json.loads(saved.read_text())
        slurm_cluster.kill_slurmd(last["node"])
        for path in search.experiment.glob("*/checkpoint_*/rank-*"):
            if (rank := json.loads(path.read_text()))["node"] == last["node"]:
                with suppress(ProcessLookupError):
                    os.kill(rank["pid"], signal.SIGKILL)
    go.touch()
    out = search.finish()
    for rows in search.rows().values():
        assert [row["step"] for row in rows] == [1, 2, 3, 4, 5], out
        assert {row["size"] for row in rows} == {3}
    directories = list(search.experiment.glob("*/checkpoint_000005*"))
    assert len(directories) == 2
    for directory in directories:
        ranks = [json.loads((directory / f"rank-{rank}").read_text()) for rank in range(3)]
        assert len({(rank["node"], rank["gpus"]) for rank in ranks}) == 3, "each has a GPU of its own"
        assert ranks[1]["node"] != ranks[2]["node"]
    ended = Counter(event.trial_id for event in search.facts() if isinstance(event, e.TrialEnded))
    assert sorted(ended.values()) == [1, 1]
    assert not slurm_cluster.run("squeue", "--noheader").strip()


@pytest.mark.nightly
def test_a_worker_that_stays_is_a_heterogeneous_job(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search], tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    search = searches(DIFFERENT.replace("GO", str(tmp_path / "go")), "-p", "main", "--workers", "1")
    out = search.finish()
    assert len(search.rows()) == 2, out
    for rows in search.rows().values():
        assert [row["step"] for row in rows] == [1, 2, 3, 4, 5], out
        assert {row["size"] for row in rows} == {3}
    jobs = {row["job"] for rows in search.rows().values() for row in rows}
    assert len(jobs) == 1, "both trials ran in one allocation"
    for directory in search.experiment.glob("*/checkpoint_*5"):
        ranks = [json.loads((directory / f"rank-{rank}").read_text()) for rank in range(3)]
        assert len({(rank["node"], rank["gpus"]) for rank in ranks}) == 3, "each has a GPU of its own"
    assert not slurm_cluster.run("squeue", "--noheader").strip()


HUNGRY = """
import time
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig


def train(config):
    tune.report(loss=1.0)
    hoard = []
    while tune.get_context().get_world_rank() == 1 and len(hoard) < 20:
        hoard.append(bytearray(10 * 2**20))
        time.sleep(0.15)
    tune.report(loss=2.0)


tuner = tune.Tuner(
    DataParallelTrainer(train, scaling_config=ScalingConfig(
        num_workers=2, placement_strategy="SPREAD", resources_per_worker={"CPU": 1, "memory": 150 * 2**20}
    )),
    run_config=tune.RunConfig(name="run", failure_config=tune.FailureConfig(grow_memory=2.0)),
)
"""


@pytest.mark.nightly
def test_a_rank_out_of_memory_gets_more(slurm_cluster: SlurmCluster, searches: Callable[..., Search]) -> None:
    search = searches(HUNGRY, "-p", "main")
    search.finish()
    facts = search.facts()
    failed, completed = [f for f in facts if isinstance(f, e.RunEnded)]
    assert failed.error is not None
    assert failed.error.kind == "OutOfMemory"
    assert "One of the 2 ranks exceeded its memory" in failed.error.message
    (grown,) = [f for f in facts if isinstance(f, e.ResourcesChanged)]
    assert [bundle.memory_bytes for bundle in grown.resources.bundles] == [300 * 2**20] * 2
    assert completed.outcome.value == "completed"


BROKEN_NODE = """
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig

tuner = tune.Tuner(
    DataParallelTrainer(lambda: None, scaling_config=ScalingConfig(num_workers=2, placement_strategy="STRICT_SPREAD")),
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(env={"PYTHONPATH": "FOLDER"}),
)
"""


def test_a_rank_that_cannot_start_ends_the_trial_at_once(
    slurm_cluster: SlurmCluster, searches: Callable[..., Search], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif os.environ.get('SLURM_PROCID') == '1' and 'HPCTUNE_RANKS_HEAD' in os.environ: os._exit(7)\n"
    )
    search = searches(BROKEN_NODE.replace("FOLDER", str(tmp_path)), "-p", "main")
    search.finish(1, within_s=60)
    (error,) = search.experiment.glob("*/error.txt")
    assert "srun ended with exit code" in error.read_text()
    assert "before all ranks had started" in error.read_text()


PREEMPTED = """
import json, os, pathlib, time
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig


def train():
    checkpoint, start = tune.get_checkpoint(), 0
    if checkpoint is not None:
        start = int(pathlib.Path(checkpoint.path, "step").read_text())
    for step in range(start + 1, 41):
        with tune.checkpoint_dir(step) as directory:
            pathlib.Path(directory, "step").write_text(str(step))
        tune.report(step=step, start=start)
        time.sleep(0.1)


tuner = tune.Tuner(
    DataParallelTrainer(train, scaling_config=ScalingConfig(num_workers=2, placement_strategy="STRICT_SPREAD")),
    run_config=tune.RunConfig(name="run"),
)
"""


@pytest.mark.nightly
def test_a_preempted_trial_goes_on(slurm_cluster: SlurmCluster, searches: Callable[..., Search]) -> None:
    search = searches(PREEMPTED, "-p", "scavenge")
    results = search.experiment.glob
    wait_for(lambda: any(f.read_text().count("\n") > 5 for f in results("*/result.json")), 60, "results")
    urgent = slurm_cluster.sbatch("-p", "urgent", "-N", "4", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    wait_for(lambda: slurm_cluster.state(urgent) == "COMPLETED", 60, "the urgent job's end")
    search.finish()
    (file,) = results("*/result.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 41))
    last = {row["start"] for row in rows}
    assert len(last) == 2, "it was not interrupted"
    ends = [event.reason for event in search.facts() if isinstance(event, e.RunEnded)]
    assert "SIGTERM received" in ends, ends
