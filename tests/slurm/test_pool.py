"""Workers that stay, on a real Slurm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.slurm.cluster import SlurmCluster as HpctuneSlurm
from hpctune.model import events as e
from hpctune.model.pool import Claimed, WorkerRecord
from hpctune.model.trial import Phase
from hpctune.ports import Clock, Cluster
from hpctune.storage import journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.worker_files import WorkerTail
from hpctune.testing.cluster_suite import ClusterSuite

from .cluster import SlurmCluster, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

SEARCH = """
import time
from pathlib import Path
import hpctune as tune

def train(config):
    checkpoint, done = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            done = int((Path(directory) / "i").read_text())
    for i in range(done + 1, {steps} + 1):
        time.sleep({pause})
        with tune.checkpoint_dir(step=i) as directory:
            (Path(directory) / "i").write_text(str(i))
        tune.report(i=i, loss=config["x"])

tune.run(
    train, name="exp", config={{"x": tune.uniform(0, 1)}}, num_samples={trials}, storage_path={root!r}, verbose=0,
    keep_checkpoints_num=1, resume="AUTO",
    cluster=tune.SlurmOptions(mem="100M", poll_s=1, calls_per_minute=None, **{options!r}),
)
"""


class TestPooledSlurm(ClusterSuite):
    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        options = SlurmOptions(time=10, mem="100M", poll_s=1.0, calls_per_minute=None)
        inner = HpctuneSlurm(experiment_dir, experiment_id, options, clock)
        pool = PoolOptions(workers=self.places, idle_timeout_s=60.0, kill_wait_s=5.0)
        return PooledCluster(inner, experiment_dir, experiment_id, pool, clock)

    def shrink(self, cluster: Cluster, clock: Clock) -> None:
        super().shrink(cluster, clock)
        assert isinstance(cluster, PooledCluster)
        self.until(clock, lambda: [cluster.jobs()] and cluster.summary() == "no workers", "all workers have left")


class Search:
    """A driver in a process of its own, with workers."""

    def __init__(self, root: Path) -> None:
        self.root, self.experiment = root, root / "exp"
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, trials: int, steps: int = 3, pause: float = 0.3, **options: object) -> None:
        self.start_script(SEARCH.format(trials=trials, steps=steps, pause=pause, root=str(self.root), options=options))

    def start_script(self, text: str) -> None:
        script = self.root / "search.py"
        script.write_text(text)
        command = [sys.executable, str(script)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self, timeout_s: float = 150) -> None:
        assert self.process is not None
        output, _ = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, output
        state = read_experiment(self.experiment).state
        assert {trial.phase for trial in state.trials.values()} == {Phase.TERMINATED}

    def counted(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = defaultdict(list)
        for r in journal.read(self.experiment / "journal"):
            if isinstance(r.event, e.ResultReported) and r.event.verdict is e.Verdict.COUNTED:
                rows[r.event.run.trial_id].append(r.event.row["i"])
        return rows

    def records(self, worker: str, run: int = 0) -> list[WorkerRecord]:
        return WorkerTail(ExperimentPaths(self.experiment).worker(worker).run(run)).read()

    def workers(self) -> list[str]:
        return sorted(p.name for p in (self.experiment / "workers").glob("w*"))

    def results(self) -> int:
        try:
            return sum(len(rows) for rows in self.counted().values())
        except Exception:  # the journal is just being made
            return 0

    def job_of(self, worker: str) -> str:
        claim = self.records(worker)[0]
        assert isinstance(claim, Claimed)
        return claim.job_id


@pytest.fixture
def search(tmp_path: Path, slurm_cluster: SlurmCluster) -> Iterator[Search]:
    made = Search(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.communicate()
    wait_for(lambda: not slurm_cluster.squeue() or slurm_cluster.cancel_all(), what="the queue to be empty")


def all_iterations(search: Search, trials: int, steps: int) -> None:
    counted = search.counted()
    assert len(counted) == trials
    assert all(rows == list(range(1, steps + 1)) for rows in counted.values()), counted


def test_forty_trials_and_four_jobs(search: Search, slurm_cluster: SlurmCluster) -> None:
    before = {job.id for job in slurm_cluster.squeue(ended=True)}
    search.start(trials=40, steps=2, pause=0.2, workers=4)
    search.finish()
    all_iterations(search, 40, 2)
    wait_for(lambda: not slurm_cluster.squeue(), what="the workers to leave by themselves")
    jobs = [job for job in slurm_cluster.squeue(ended=True) if job.id not in before]
    assert 1 <= len(jobs) <= 4
    assert {job.state for job in jobs} <= {"COMPLETED", "CANCELLED"}, jobs
    glance = json.loads((search.experiment / "driver.json").read_text())
    assert glance["calls"]["total"] < 100


def test_a_lost_node_costs_no_result(search: Search, slurm_cluster: SlurmCluster) -> None:
    search.start(trials=8, steps=6, pause=0.5, workers=4)
    wait_for(lambda: search.results() >= 6, 60, "some results")
    worker = search.workers()[0]
    node = next(job.node_list for job in slurm_cluster.squeue() if job.id == search.job_of(worker))
    slurm_cluster.kill_slurmd(node)
    search.finish()
    all_iterations(search, 8, 6)


def test_a_preempted_worker_begins_again(search: Search, slurm_cluster: SlurmCluster) -> None:
    search.start(trials=4, steps=8, pause=0.5, workers=2, partition="scavenge", requeue=True, additional_parameters={})
    wait_for(lambda: search.results() >= 3, 60, "some results")
    urgent = slurm_cluster.sbatch("-p", "urgent", "-N", "4", "--exclusive", "--wrap", "sleep 3", "-o", "/dev/null")
    search.finish()
    all_iterations(search, 4, 8)
    wait_for(lambda: slurm_cluster.state(urgent) == "COMPLETED", what="the urgent job")
    again = [w for w in search.workers() if search.records(w, run=1)]
    assert again or len(search.workers()) > 2, "no worker was preempted"


def test_a_killed_driver_costs_nothing_while_workers_hold_trials(search: Search, slurm_cluster: SlurmCluster) -> None:
    search.start(trials=6, steps=8, pause=0.4, workers=3)
    wait_for(lambda: search.results() >= 4, 60, "some results")
    assert search.process is not None
    search.process.kill()
    search.process.communicate()
    held = {job.id for job in slurm_cluster.squeue()}
    search.start(trials=6, steps=8, pause=0.4, workers=3)
    search.finish()
    all_iterations(search, 6, 8)
    facts = [r.event for r in journal.read(search.experiment / "journal")]
    assert sum(isinstance(fact, e.RunStarted) for fact in facts) == 6, "no trial was interrupted"
    assert {search.job_of(worker) for worker in search.workers()} == held, "the same workers"


@pytest.mark.parametrize(("time", "limit"), [("auto", "1:00:00"), ("auto:20", "20:00")])
def test_the_time_limit_is_the_pools_to_choose(
    search: Search, slurm_cluster: SlurmCluster, time: str, limit: str
) -> None:
    search.start(trials=2, steps=2, pause=0.5, workers=1, time=time)
    wait_for(lambda: search.results() >= 1, 60, "a result")
    assert slurm_cluster.run("squeue", "--noheader", "--format=%l").split() == [limit]
    search.finish()


PACKED = """
import os, time
import hpctune as tune

def train(config):
    began = time.time()
    time.sleep(0.5)
    mine = sorted(os.sched_getaffinity(0))
    tune.report(gpu=os.environ["CUDA_VISIBLE_DEVICES"], began=began, ended=time.time(), cpus=len(mine), i=1)

tune.run(
    train, name="exp", num_samples=12, storage_path={root!r}, verbose=0, config={{}},
    resources_per_trial={{"cpu": 1, "gpu": 0.5}},
    cluster=tune.SlurmOptions(mem="1G", poll_s=1, calls_per_minute=None, workers=1, trials_per_worker=4),
)
"""


def test_four_small_trials_share_two_gpus_of_one_job(search: Search, slurm_cluster: SlurmCluster) -> None:
    search.start_script(PACKED.format(root=str(search.root)))
    wait_for(lambda: search.results() >= 1, 60, "a result")
    (job,) = slurm_cluster.squeue()
    asked = slurm_cluster.run("scontrol", "show", "job", job.id)
    assert re.search("gres[/:]gpu[=:]2", asked), asked
    assert "NumCPUs=4" in asked, asked
    search.finish()
    facts = [r.event for r in journal.read(search.experiment / "journal")]
    rows = [fact.row for fact in facts if isinstance(fact, e.ResultReported)]
    assert len(rows) == 12
    assert {row["gpu"] for row in rows} == {"0", "1"}
    for gpu in ("0", "1"):
        spans = [(row["began"], row["ended"]) for row in rows if row["gpu"] == gpu]
        together = max(sum(a <= began < b for a, b in spans) for began, _ in spans)
        assert together == 2, "two halves make a GPU, and no third"


GPU_FREE_LATE = """
import os, subprocess, time
from pathlib import Path
import hpctune as tune

side = Path({root!r})

def train(config):
    assert not (side / "in use").exists(), "the GPU is still in use"
    tune.report(i=1, began=time.time())
    (side / "in use").touch()
    free = f"sleep 2; date +%s.%N >> '{{side}}/freed'; rm '{{side}}/in use'"
    subprocess.Popen(["sh", "-c", free], start_new_session=True)

tune.run(
    train, name="exp", num_samples=2, storage_path={root!r}, verbose=0, config={{}}, resources_per_trial={{"gpu": 1}},
    cluster=tune.SlurmOptions(mem="100M", poll_s=1, calls_per_minute=None, workers=1, wait_for_gpu=True),
)
"""
NVIDIA_SMI = """#!/bin/sh
test -e '{root}/in use' && used=9000 || used=1
printf '0, GPU-aaaa, %s, 40000\\n1, GPU-bbbb, 1, 40000\\n2, GPU-cccc, 1, 40000\\n3, GPU-dddd, 1, 40000\\n' "$used"
"""


def test_a_trial_waits_until_the_gpu_is_free_of_the_last(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    program = search.root / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI.format(root=search.root))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    search.start_script(GPU_FREE_LATE.format(root=str(search.root)))
    search.finish()
    facts = [r.event for r in journal.read(search.experiment / "journal")]
    began = sorted(fact.row["began"] for fact in facts if isinstance(fact, e.ResultReported))
    freed = float((search.root / "freed").read_text().split()[0])
    assert began[0] < freed < began[1]


@pytest.mark.nightly
def test_trials_that_are_longer_than_an_allocation_go_on_in_the_next(
    search: Search, slurm_cluster: SlurmCluster
) -> None:
    """A limit of one minute, of which the last quarter is for leaving; each trial takes 70 s."""
    search.start(trials=2, steps=70, pause=1.0, workers=2, time=1)
    search.finish(timeout_s=280)
    all_iterations(search, 2, 70)
    assert len(search.workers()) >= 4
    verdicts = [
        r.event.verdict for r in journal.read(search.experiment / "journal") if isinstance(r.event, e.ResultReported)
    ]
    assert set(verdicts) == {e.Verdict.COUNTED}, "an iteration was done twice"
