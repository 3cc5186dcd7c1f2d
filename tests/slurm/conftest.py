"""A real Slurm cluster for the tests below this folder: one per worker process of pytest, taken down with it.

A test that uses `slurm_cluster` must leave no jobs behind; one that does fails, after they were cancelled for it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from .cluster import SlurmCluster, slurm_cluster_command
from .search import Search

# A surrounding job's variables would steer our commands.
_FOREIGN = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")
# Quick where a real site is slow: a requeued job waits 5 s instead of 120, a lost node is noticed after 5 s.
_OPTIONS = ("--nodes", "4", "--requeue-delay", "5", "--slurmd-timeout", "5", "--grace-time", "3", "--kill-wait", "3")


def _handle(directory: Path, env_line: str) -> SlurmCluster:
    conf = Path(env_line.strip().removeprefix("export SLURM_CONF="))
    return SlurmCluster(dir=directory, conf=conf, nodes=tuple(f"n{i}" for i in range(1, 5)))


@contextlib.contextmanager
def running_cluster(*options: str, within: Sequence[str] = ()) -> Iterator[SlurmCluster]:
    """A cluster of its own, in the environment as the one that commands speak to. Without ``options``: as below.
    ``within``: words of a command that starts it."""
    directory = Path(tempfile.mkdtemp(prefix="hpctune-slurm-"))  # pytest's own folders are too deep for Unix sockets
    directory.chmod(0o755)
    try:
        up = ("up", "--dir", directory, "--owner-pid", str(os.getpid()), *_OPTIONS, *options)
        done = slurm_cluster_command(*up, within=within)
        assert done.returncode == 0, done.stderr
        cluster = _handle(directory, done.stdout)
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
                patch.delenv(name)
            patch.setenv("SLURM_CONF", str(cluster.conf))
            yield cluster
    finally:
        slurm_cluster_command("down", "--dir", directory)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """Four nodes, four fake GPUs each, partitions main, scavenge, urgent and short."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def searches(tmp_path: Path, slurm_cluster: SlurmCluster) -> Iterator[Callable[..., Search]]:
    """Starts searches in the test's own directory; none outlives the test."""
    started: list[Search] = []

    def start(config: str, *options: str) -> Search:
        started.append(Search(tmp_path, config, *options))
        return started[-1]

    yield start
    for search in started:
        search.end()
    slurm_cluster.cancel_all()


@pytest.fixture(autouse=True)
def _no_job_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    if "slurm_cluster" not in request.fixturenames:
        yield
        return
    cluster: SlurmCluster = request.getfixturevalue("slurm_cluster")
    yield
    cluster.repair(_OPTIONS)
    left = [job for job in cluster.squeue() if job.state != "COMPLETING"]
    if left or cluster.squeue():
        cluster.cancel_all()
    assert not left, f"the test left jobs in the queue: {left}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure of a Slurm test is seldom understood without the controller's log."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("slurm_cluster")
    if report.failed and cluster is not None:
        report.sections.append(("the end of slurmctld.log", cluster.log_tail()))
    return report
