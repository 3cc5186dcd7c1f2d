"""Searches on nodes that do not see the experiment's directory: every daemon of this Slurm runs where it is hidden."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpctune.model import events as e
from tests.support.ssh_lab import NAME, Laptop, Sshd, nothing_left

from .cluster import SlurmCluster, wait_for
from .conftest import running_cluster
from .search import Search

pytestmark = pytest.mark.slurm
HIDE = 'mount -t tmpfs none "$0" && exec "$@"'

SEARCH = """
import json, os, random, time
from pathlib import Path

import hpctune as tune
import helper


def train(config):
    checkpoint, first, lineage = tune.get_checkpoint(), 1, []
    if checkpoint is not None:
        state = json.loads(Path(checkpoint.path, "state").read_text())
        first, lineage = state["i"] + 1, state["lineage"]
    for i in range(first, STEPS + 1):
        time.sleep(PAUSE)
        lineage = [*lineage, config["lr"]]
        with tune.checkpoint_dir(i) as directory:
            Path(directory, "state").write_text(json.dumps({"i": i, "lineage": lineage}))
            Path(directory, "data").write_bytes(os.urandom(200_000))
        hidden = not Path("EXPERIMENT").exists()
        tune.report(i=i, score=helper.double(sum(lineage)), steps=len(lineage), hidden=hidden)


tuner = tune.Tuner(
    train,
    param_space={"who": tune.grid_search([0, 1, 2, 3]), "lr": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(metric="score", mode="max", SCHEDULER),
    run_config=tune.RunConfig(name="run", checkpoint_config=tune.CheckpointConfig(num_to_keep=2)),
    slurm=tune.SlurmOptions(
        file_transfer=tune.FileTransfer(host="cluster", directory="NODES/$SLURMD_NODENAME", poll_s=0.3),
        poll_s=0.5, MORE
    ),
)
"""
PBT = (
    "scheduler=tune.schedulers.PopulationBasedTraining(time_attr='i', perturbation_interval=2, "
    "hyperparam_mutations={'lr': tune.uniform(0, 1)})"
)
ASHA = "scheduler=tune.schedulers.ASHAScheduler(time_attr='i', max_t=8, grace_period=2)"


class Blind:
    """A driver's host, behind sshd; a directory that only it sees; and where searches start."""

    def __init__(self, root: Path) -> None:
        self.root, self.hidden, self.nodes = root, root / "hidden", root / "nodes"
        self.hidden.mkdir()
        self.nodes.mkdir()
        (self.hidden / "seen").touch()
        self.server = Sshd(root / "sshd", root / "there", {"PATH": os.environ["PATH"]})
        self.server.start()
        self.account = Laptop(root / "account", root / "work")
        self.account.may_enter(self.server)
        self.account.knows(self.server)
        user = getpass.getuser()
        self.account.config.write_text(f"Host {NAME}\n  HostName 127.0.0.1\n  Port {self.server.port}\n  User {user}\n")

    def search(self, scheduler: str, *, steps: int = 8, pause: float = 0.2, more: str = "", test: str) -> Search:
        directory = self.hidden / test
        directory.mkdir()
        (directory / "helper.py").write_text("def double(x):\n    return 2 * x\n")
        text = SEARCH
        values = {
            "STEPS": steps, "PAUSE": pause, "SCHEDULER": scheduler, "MORE": more, "NODES": self.nodes,
            "EXPERIMENT": self.hidden / "seen",
        }  # fmt: skip
        for name, value in values.items():
            text = text.replace(name, str(value))
        return Search(directory, text)


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blind]:
    made = Blind(tmp_path_factory.mktemp("blind"))
    with pytest.MonkeyPatch.context() as patch, nothing_left(made.server.home):
        patch.setenv("HOME", str(made.account.home))
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        yield made
        made.server.stop()


@pytest.fixture(scope="module")
def slurm_cluster(blind: Blind) -> Iterator[SlurmCluster]:
    """As that of the other tests, but its nodes do not see ``blind.hidden``."""
    within = ("unshare", "--mount", "sh", "-c", HIDE, str(blind.hidden))
    if os.geteuid() != 0 or subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not hide directories: unshare --mount")
    with running_cluster(within=within) as cluster:
        yield cluster


@pytest.fixture
def start(blind: Blind, slurm_cluster: SlurmCluster, request: pytest.FixtureRequest) -> Iterator[Callable[..., Search]]:
    """Starts searches where nodes cannot see; none outlives the test."""
    started: list[Search] = []

    def begin(scheduler: str, **options: object) -> Search:
        started.append(blind.search(scheduler, test=f"{request.node.originalname}{len(started)}", **options))  # type: ignore[arg-type]
        return started[-1]

    yield begin
    for search in started:
        if search.driver.poll() is None:
            search.driver.kill()
        search.driver.communicate()
    slurm_cluster.cancel_all()
    left = [path for node in blind.nodes.iterdir() for path in node.iterdir()]
    assert [path for path in left if not killed(path)] == [], "jobs that ended have left nothing on their nodes"


def killed(path: Path) -> bool:
    """Whether a job's directory is one that the job could not remove: it was killed with what it had copied."""
    found = any(inside.is_dir() for inside in path.iterdir())
    shutil.rmtree(path)
    return found


def whole(search: Search, steps: int = 8, trials: int = 4) -> None:
    """Every trial reached the end, each of its results has the steps of one lineage behind it, and each checkpoint that
    is kept is complete."""
    counted: dict[str, list[int]] = {}
    for fact in search.facts():
        if isinstance(fact, e.ResultReported) and fact.verdict is e.Verdict.COUNTED:
            assert fact.row["hidden"] is True, "the node sees what it must not see"
            assert fact.row["steps"] == fact.row["i"]
            counted.setdefault(fact.run.trial_id, []).append(fact.row["i"])
    assert [rows[-1] for rows in counted.values()] == [steps] * trials, counted
    kept = list(search.experiment.glob("*/checkpoint_*"))
    assert kept
    assert {(path / "data").stat().st_size for path in kept} == {200_000}
    assert not list(search.experiment.glob("*/.checkpoint_*")), "no part of a checkpoint is left"


def requeue_one(search: Search, cluster: SlurmCluster) -> None:
    """Requeue a job whose trial has saved a checkpoint."""
    wait_for(lambda: any(search.experiment.glob("*/checkpoint_*")), what="a checkpoint to arrive")
    running = [job for job in cluster.squeue() if job.state == "RUNNING"]
    cluster.run("scontrol", "requeue", running[0].id)


def test_a_population_on_nodes_that_see_nothing(start: Callable[..., Search], slurm_cluster: SlurmCluster) -> None:
    """Checkpoints go from trial to trial by the driver's host; a job is requeued, the driver is killed and resumed."""
    search = start(PBT, more="requeue=True")
    requeue_one(search, slurm_cluster)
    wait_for(lambda: sum(isinstance(fact, e.ResultReported) for fact in search.facts()) >= 6, what="results")
    os.kill(search.driver.pid, signal.SIGKILL)
    search.driver.wait()
    hpctune = Path(sys.executable).with_name("hpctune")
    done = subprocess.run(
        [hpctune, "resume", search.experiment], cwd=search.directory, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    whole(search)
    starts = [fact for fact in search.facts() if isinstance(fact, e.RunStarted)]
    assert max(fact.run.restart for fact in starts) >= 1, "no job was requeued"
    assert any(isinstance(fact, e.ExploitRequested) for fact in search.facts()), "no trial took over another one"
