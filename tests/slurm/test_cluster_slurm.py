"""SlurmCluster on real Slurm: what it rejects, what jobs get, how they end, and what happens without a controller."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.errors import ClusterUnavailableError, RequestRejectedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, Unanswered
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.testing.cluster_suite import SuiteClock

from .cluster import SlurmCluster as RealSlurm, wait_for

pytestmark = pytest.mark.usefixtures("slurm_cluster")

Make = Callable[..., SlurmCluster]
IMPOSSIBLE: list[tuple[dict[str, Any], object, str]] = [
    ({"partition": "gpuu"}, None, r"invalid partition specified: gpuu.*Partitions here: main\*, scavenge"),
    ({"partition": "main,gpuu"}, None, "Partitions here"),
    ({}, {"cpu": 999}, "999 CPUs on one node"),
    ({}, {"cpu": 1, "gpu": 99}, "99 GPUs on one node"),
    ({"gpu_type": "a100"}, {"gpu": 1}, "a100 GPUs"),
    ({}, {"memory": 1e14}, "MiB on one node"),
    ({"partition": "short", "time": 60}, None, "more than partition 'short' allows, which is 00:05:00"),
    ({"gres": "unicorn:1"}, None, "Invalid generic resource"),
    ({"constraint": "unicorn"}, None, "Invalid feature specification"),
    ({"reservation": "unicorn"}, None, "reservation is invalid"),
    ({"nodelist": "unicorn"}, None, "Invalid node name"),
    ({"licenses": "unicorn"}, None, "Invalid license"),
    ({"nodes": 99}, None, "node configuration is not available|More processors requested"),
    ({"additional_parameters": {"unicorn": 1}}, None, "unrecognized option"),
    ({"mail_type": "UNICORN"}, None, "mail-type"),
]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    experiment, made = uuid.uuid4().hex[:8], []

    def build(**options: Any) -> SlurmCluster:
        chosen = SlurmOptions(**{"mem": "100M", "time": 10, "calls_per_minute": None, **options})
        made.append(SlurmCluster(tmp_path, experiment, chosen, SuiteClock()))
        return made[-1]

    yield build
    if made:
        last = build()
        last.cancel([job.job_id for job in last.jobs() if not job.state.final])
        wait_for(lambda: all(job.state.final for job in last.jobs()), what="all jobs to end")


def request(
    cluster: SlurmCluster, tmp_path: Path, number: int = 1, code: str = "pass", resources: object = None
) -> JobRequest:
    trial = tmp_path / f"trial{number}"
    return JobRequest(
        Tag(cluster._experiment_id, f"t{number}", 1),
        f"trial {number}",
        (sys.executable, "-u", "-c", code),
        Resources.parse(resources),
        trial / "out",
        trial / "err",
    )


def submit(cluster: SlurmCluster, asked: JobRequest) -> str:
    (outcome,) = cluster.submit([asked])
    assert isinstance(outcome, Accepted), outcome
    return outcome.job_id


def status(cluster: SlurmCluster, job_id: str) -> JobStatus:
    return next(job for job in cluster.jobs() if job.job_id == job_id)


def reaches(cluster: SlurmCluster, job_id: str, *states: JobState) -> JobStatus:
    wait_for(lambda: status(cluster, job_id).state in states, what=f"{states} of {status(cluster, job_id)}")
    return status(cluster, job_id)


def output(cluster: SlurmCluster, asked: JobRequest) -> str:
    reaches(cluster, submit(cluster, asked), JobState.COMPLETED)
    return asked.stdout.read_text()


@pytest.mark.parametrize(("options", "resources", "words"), IMPOSSIBLE, ids=lambda v: str(v)[:30])
def test_the_impossible_is_rejected_before_anything_is_submitted(
    make: Make, options: dict[str, Any], resources: object, words: str
) -> None:
    cluster = make(**options)
    with pytest.raises(RequestRejectedError, match=words):
        cluster.check(Resources.parse(resources))
    assert cluster.jobs() == []


@pytest.mark.parametrize(("options", "resources", "words"), IMPOSSIBLE[:2], ids=["unknown", "one unknown"])
def test_what_sbatch_refuses_for_good_is_refused_for_good(
    make: Make, tmp_path: Path, options: dict[str, Any], resources: object, words: str
) -> None:
    cluster = make(**options)
    (outcome,) = cluster.submit([request(cluster, tmp_path, resources=resources)])
    assert isinstance(outcome, Refused)
    assert outcome.permanent
    assert "Partitions here: main*" in outcome.reason


def test_drained_nodes_and_partitions_are_not_impossible(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    nodes = ",".join(slurm_cluster.nodes)
    slurm_cluster.run("scontrol", "update", f"NodeName={nodes}", "State=DRAIN", "Reason=test")
    try:
        make().check(Resources.parse({"cpu": 2}))
        with pytest.raises(RequestRejectedError):
            make().check(Resources.parse({"cpu": 999}))
    finally:
        slurm_cluster.run("scontrol", "update", f"NodeName={nodes}", "State=RESUME")
    slurm_cluster.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    cluster = make(partition="short", time=5)
    cluster.check(Resources())
    slurm_cluster.drain("short")
    (outcome,) = cluster.submit([request(cluster, tmp_path)])
    assert isinstance(outcome, Refused)
    assert not outcome.permanent
    assert cluster.room(Resources()) == 0


SEES = "import os; print(*(os.environ.get(n) for n in ({names})))"


def test_jobs_get_what_trials_ask_for(make: Make, tmp_path: Path) -> None:
    cluster = make()
    code = SEES.format(names="'CUDA_VISIBLE_DEVICES', 'SLURM_CPUS_PER_TASK', 'SLURM_NTASKS', 'SLURM_MEM_PER_NODE'")
    asked = request(cluster, tmp_path, code=code, resources={"cpu": 1.5, "gpu": 2, "memory": 2**28})
    assert output(cluster, asked) == "0,1 2 1 256\n"


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"cpus_per_gpu": 1, "mem_per_gpu": "100M", "mem": None}, "0 1 None"),
        ({"gpus_per_task": 2}, "0,1 1 None"),
        ({"ntasks": 2, "gpus_per_task": 1}, "0,1 2 None"),
        ({"ntasks": 1, "nodelist": "n[3-3]", "time": 0}, "0 1 n3"),
    ],
)
def test_requests_by_gpu_and_by_task(make: Make, tmp_path: Path, options: dict[str, Any], seen: str) -> None:
    cluster = make(**options)
    node = "os.environ['SLURMD_NODENAME']" if "nodelist" in options else "None"
    code = f"import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_NTASKS'], {node})"
    assert output(cluster, request(cluster, tmp_path, code=code, resources={"gpu": 1})) == seen + "\n"


def test_bundles_become_tasks_and_the_worker_runs_once(make: Make, tmp_path: Path) -> None:
    cluster = make()
    code = (
        "import os, subprocess\nprint(os.environ['SLURM_NTASKS'], os.environ['SLURM_JOB_NUM_NODES'])\n"
        "print(sorted(subprocess.check_output(['srun', 'printenv', 'SLURM_PROCID'], text=True).split()))"
    )
    spread = PlacementGroupFactory([{"CPU": 1.0}] * 3, "STRICT_SPREAD")
    assert output(cluster, request(cluster, tmp_path, code=code, resources=spread)) == "3 3\n['0', '1', '2']\n"


def test_the_variables_of_a_surrounding_job_do_not_reach_ours(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "1", "SLURM_NTASKS": "7", "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
        "SBATCH_MEM_PER_CPU": "7", "SLURM_HINT": "x", "CUDA_VISIBLE_DEVICES": "3", "SBATCH_EXPORT": "NONE",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_OWN", "kept")
    cluster = make()
    code = SEES.format(names="'SLURM_NTASKS', 'CUDA_VISIBLE_DEVICES', 'SLURM_HINT', 'MY_OWN', 'SLURM_RESTART_COUNT'")
    assert output(cluster, request(cluster, tmp_path, code=code)) == "1 None None kept None\n"


def test_the_tag_is_found_beside_the_users_comment(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    cluster = make(comment='it\'s my | "project" \\ 7\nhpctune:x:y:1')
    asked = request(cluster, tmp_path, code="import time; time.sleep(600)")
    job_id = submit(cluster, asked)
    assert status(cluster, job_id).tag == asked.tag
    shown = slurm_cluster.run("squeue", "-h", "-j", job_id, "-o", "%k").strip()
    assert shown == f'{asked.tag} it\'s my | "project" \\ 7 hpctune:x:y:1'


def test_a_running_job_says_where_it_runs_and_when_its_time_is_up(make: Make, tmp_path: Path) -> None:
    cluster = make(time=7)
    before = time.time()
    job_id = submit(cluster, request(cluster, tmp_path, code="import time; time.sleep(600)"))
    running = reaches(cluster, job_id, JobState.RUNNING)
    assert running.nodes.startswith("n")
    assert running.ends_at is not None
    assert before + 419 <= running.ends_at <= time.time() + 421


WAITS = (
    "import signal,time,sys\n"
    "def on(n, f): print('got', n); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, on); signal.signal(signal.SIGUSR2, on)\n"
    "print('up'); time.sleep(600)"
)


@pytest.mark.parametrize("use_srun", [True, False])
def test_a_cancelled_job_is_told_by_sigterm(make: Make, tmp_path: Path, use_srun: bool) -> None:
    cluster = make(use_srun=use_srun)
    asked = request(cluster, tmp_path, code=WAITS)
    job_id = submit(cluster, asked)
    wait_for(lambda: asked.stdout.exists() and asked.stdout.read_text() == "up\n", what="the job to be up")
    cluster.cancel([job_id, "99999999"])
    reaches(cluster, job_id, JobState.CANCELLED)
    wait_for(lambda: asked.stdout.read_text() == "up\ngot 15\n", what="its last words")


def test_the_batch_signal_reaches_the_worker_in_both_shapes(
    make: Make, tmp_path: Path, slurm_cluster: RealSlurm
) -> None:
    for number, shape in enumerate((True, False)):
        cluster = make(use_srun=shape)
        asked = request(cluster, tmp_path, number, WAITS)
        job_id = submit(cluster, asked)
        wait_for(lambda asked=asked: asked.stdout.exists() and asked.stdout.read_text() == "up\n", what="up")  # type: ignore[misc]
        flags = () if shape else ("--batch",)
        slurm_cluster.run("scancel", "--signal=USR2", *flags, job_id)
        wait_for(lambda asked=asked: "got 12" in asked.stdout.read_text(), what="SIGUSR2 to arrive")  # type: ignore[misc]


def test_a_waiting_job_can_be_cancelled(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    cluster = make(additional_parameters={"hold": True})
    job_id = submit(cluster, request(cluster, tmp_path))
    held = status(cluster, job_id)
    assert (held.state, held.ends_at) == (JobState.PENDING, None)
    assert "Held" in held.reason
    cluster.cancel([job_id])
    reaches(cluster, job_id, JobState.CANCELLED)


def test_without_a_controller_nothing_is_known(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    cluster = make(timeout_s=1.5)
    job_id = submit(cluster, request(cluster, tmp_path, 1, WAITS))
    reaches(cluster, job_id, JobState.RUNNING)
    slurm_cluster.stop_slurmctld()
    try:
        (outcome,) = cluster.submit([request(cluster, tmp_path, 2)])
        assert isinstance(outcome, Unanswered), outcome
        assert cluster.room(Resources()) == 0
        for ask in (cluster.jobs, lambda: cluster.cancel([job_id]), lambda: make(timeout_s=1.5).check(Resources())):
            with pytest.raises(ClusterUnavailableError):
                ask()
    finally:
        slurm_cluster.start_slurmctld()
    wait_for(lambda: [j.job_id for j in cluster.jobs()] == [job_id], what="the job to be seen again")
    assert status(cluster, job_id).state is JobState.RUNNING


def test_the_budget_is_kept_on_real_slurm_too(make: Make, tmp_path: Path) -> None:
    cluster = make(calls_per_minute=6)
    submit(cluster, request(cluster, tmp_path))
    for _ in range(3):
        cluster.jobs()
    cluster.jobs()
    with pytest.raises(ClusterUnavailableError, match="6 Slurm commands a minute"):
        cluster.jobs()
    stats = cluster.stats()
    assert (stats.total, stats.deferred, stats.budget_per_minute) == (5, 1, 6)
