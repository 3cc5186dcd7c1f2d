"""Searches on nodes that do not see the experiment's directory: every daemon of this Slurm runs where it is hidden."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.model.records import Outcome
from hpctune.model.trial import Phase
from tests.support.ssh_lab import NAME, Laptop, Sshd, cluster_processes, nothing_left

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
        file_transfer=tune.FileTransfer(host="cluster", directory="DIRECTORY", poll_s=0.3),
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

    def search(
        self, scheduler: str, *, pause: float = 0.2, more: str = "", directory: str = "", text: str = SEARCH, test: str
    ) -> Search:
        place = self.hidden / test
        place.mkdir()
        (place / "helper.py").write_text("def double(x):\n    return 2 * x\n")
        values = {
            "STEPS": 8, "PAUSE": pause, "SCHEDULER": scheduler, "MORE": more, "EXPERIMENT": self.hidden / "seen",
            "DIRECTORY": directory or f"{self.nodes}/$SLURMD_NODENAME",
        }  # fmt: skip
        for name, value in values.items():
            text = text.replace(name, str(value))
        return Search(place, text)


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
        search.end()
    slurm_cluster.cancel_all()


def whole(search: Search, steps: int = 8, trials: int = 4) -> dict[str, list[int]]:
    """Every trial ended well, each of its results has the steps of one lineage behind it, and each checkpoint that is
    kept is complete. Returns the steps of each trial's results that count."""
    ended = [fact for fact in search.facts() if isinstance(fact, e.TrialEnded)]
    assert [fact.phase for fact in ended] == [Phase.TERMINATED] * trials, ended
    counted: dict[str, list[int]] = {}
    for fact in search.facts():
        if isinstance(fact, e.ResultReported) and fact.verdict is e.Verdict.COUNTED:
            assert fact.row["hidden"] is True, "the node sees what it must not see"
            assert fact.row["steps"] == fact.row["i"]
            counted.setdefault(fact.run.trial_id, []).append(fact.row["i"])
    assert max(rows[-1] for rows in counted.values()) == steps, counted
    kept = list(search.experiment.glob("*/checkpoint_*"))
    assert kept
    assert {(path / "data").stat().st_size for path in kept} == {200_000}
    assert not list(search.experiment.glob("*/.checkpoint_*")), "no part of a checkpoint is left"
    return counted


def requeue_one(search: Search, cluster: SlurmCluster) -> None:
    """Requeue a job whose trial has saved a checkpoint."""
    wait_for(lambda: any(search.experiment.glob("*/checkpoint_*")), what="a checkpoint to arrive")
    running = [job for job in cluster.squeue() if job.state == "RUNNING"]
    cluster.run("scontrol", "requeue", running[0].id)


@pytest.mark.nightly
def test_a_population_on_nodes_that_see_nothing(start: Callable[..., Search], slurm_cluster: SlurmCluster) -> None:
    """Checkpoints go from trial to trial by the driver's host; a job is requeued, the driver is killed and resumed."""
    search = start(PBT, more="requeue=True")
    requeue_one(search, slurm_cluster)
    wait_for(lambda: results(search) >= 6, what="results")
    os.kill(search.driver.pid, signal.SIGKILL)
    search.driver.wait()
    hpctune = Path(sys.executable).with_name("hpctune")
    done = subprocess.run(
        [hpctune, "resume", search.experiment], cwd=search.directory, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    whole(search)
    ends = [fact for fact in search.facts() if isinstance(fact, e.RunEnded)]
    assert any(fact.outcome is Outcome.INTERRUPTED for fact in ends), "no job was requeued"
    assert any(isinstance(fact, e.ExploitRequested) for fact in search.facts()), "no trial took over another one"


@pytest.mark.nightly
def test_halving_with_lost_jobs(start: Callable[..., Search], slurm_cluster: SlurmCluster) -> None:
    """Jobs are killed with all that they had, and requeued by Slurm: they go on from what had arrived."""
    search = start(ASHA, pause=0.5, more="requeue=True")
    for number in range(3):
        wait_for(lambda n=number: results(search) > 3 * n + 2, what="results", timeout_s=60)
        running: list[str] = []
        while not running:  # a job of a rung may just have ended
            running = [job.id for job in slurm_cluster.squeue() if job.state == "RUNNING"]
        slurm_cluster.run("scancel", "--signal=KILL", "--full", running[0])
        slurm_cluster.run("scontrol", "requeue", running[0])
    search.finish(within_s=250)
    counted = whole(search)
    assert all(rows == list(range(1, len(rows) + 1)) for rows in counted.values()), counted


@pytest.mark.nightly
def test_a_preempted_trial_goes_on(start: Callable[..., Search], slurm_cluster: SlurmCluster) -> None:
    """Its last checkpoint arrives within the grace time."""
    search = start("", pause=0.4, more="partition='scavenge', requeue=True")
    wait_for(lambda: results(search) > 4, what="results", timeout_s=60)
    urgent = [
        slurm_cluster.sbatch("-p", "urgent", "--exclusive", "-w", n, "-o", "/dev/null", "--wrap", "sleep 2")
        for n in ("n1", "n2")
    ]
    wait_for(lambda: all(slurm_cluster.state(job) == "COMPLETED" for job in urgent), 60, "the urgent jobs to end")
    search.finish(within_s=250)
    counted = whole(search)
    assert list(counted.values()) == [list(range(1, 9))] * 4
    assert any(isinstance(fact, e.RetryScheduled) and "preempted" in fact.reason for fact in search.facts())


@pytest.mark.nightly
def test_a_host_that_is_away_costs_no_trial(
    start: Callable[..., Search], blind: Blind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs give up, are said to have lost their node's way to the host, and the trials go on in others."""
    monkeypatch.setenv("HPCTUNE_STORAGE_PATIENCE_S", "2")
    search = start("", pause=1.0)
    wait_for(lambda: results(search) > 4, what="results", timeout_s=60)
    blind.server.stop()
    for pid in cluster_processes(blind.server.home):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: any(isinstance(f, e.JobEnded) for f in search.facts()), 60, "jobs to give up")
    blind.server.start()
    search.finish(within_s=250)
    lost = [fact for fact in search.facts() if isinstance(fact, e.JobEnded)]
    assert {fact.state for fact in lost} == {JobState.NODE_FAIL}
    assert all(f"could not transfer files to {NAME} for too long" in fact.reason for fact in lost)
    assert list(whole(search).values()) == [list(range(1, 9))] * 4


@pytest.mark.nightly
def test_what_a_node_lacks_is_named(start: Callable[..., Search], blind: Blind) -> None:
    """A directory that cannot be made; a host that does not let the job in from there."""
    search = start("", directory="/proc/none")
    search.finish(code=1)
    assert "has no directory /proc/none and cannot make it" in errors(search)
    search = start("", more="env={'HPCTUNE_CLUSTER_SSH_KEY': '/nowhere', 'HPCTUNE_STORAGE_PATIENCE_S': '1'}")
    search.finish(code=1)
    assert f"{NAME} did not let it in from n" in errors(search)
    assert f"ssh -o BatchMode=yes {NAME} true" in errors(search)
    words = "".join(path.read_text() for path in blind.nodes.glob("*/*/stderr"))
    assert "HPCTUNE_CLUSTER_SSH_KEY: there is no file /nowhere" in words
    search = start("", more="python='/nowhere/python'")
    search.finish(code=1)
    assert "if its stderr is empty, see n" in errors(search)


RANKS = """
import os, pathlib
import hpctune as tune
from hpctune.train import DataParallelTrainer, ScalingConfig


def train(config):
    context = tune.get_context()
    for step in (1, 2):
        with tune.checkpoint_dir(step) as directory:
            pathlib.Path(directory, f"shard-{context.get_world_rank()}").touch()
        tune.report(step=step, size=context.get_world_size(), hidden=not pathlib.Path("EXPERIMENT").exists())


tuner = tune.Tuner(
    DataParallelTrainer(lambda config: train(config), scaling_config=ScalingConfig(num_workers=2)),
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(file_transfer=tune.FileTransfer(host="cluster", directory="DIRECTORY"), MORE),
)
"""


@pytest.mark.nightly
def test_a_trial_of_several_processes_has_one_node(start: Callable[..., Search]) -> None:
    search = start("", text=RANKS, more="ntasks=2")
    assert "this trial may get several. Ask for one: SlurmOptions(nodes=1)" in search.finish(code=1)
    assert not search.experiment.exists(), "nothing is made"
    search = start("", text=RANKS, more="ntasks=2, nodes=1")
    search.finish()
    rows = [fact.row for fact in search.facts() if isinstance(fact, e.ResultReported)]
    assert [(row["step"], row["size"], row["hidden"]) for row in rows] == [(1, 2, True), (2, 2, True)]
    assert len(list(search.experiment.glob("*/checkpoint_000002/shard-*"))) == 2


PROGRAM = """
import hpctune as tune

tuner = tune.Tuner(
    tune.Command("sh -c 'echo {x} > model.txt; hpctune report loss={x}; pwd'"),
    param_space={"x": tune.grid_search([1, 2])},
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(
        file_transfer=tune.FileTransfer(host="cluster", directory="DIRECTORY"), setup=["PATH=BIN:$PATH"]
    ),
)
"""


@pytest.mark.nightly
def test_a_program_works_on_the_node_and_what_it_writes_arrives(start: Callable[..., Search], blind: Blind) -> None:
    before = set(blind.nodes.glob("*/*"))
    search = start("", text=PROGRAM.replace("BIN", str(Path(sys.executable).parent)))
    search.finish()
    assert sorted(path.read_text() for path in search.experiment.glob("*/model.txt")) == ["1\n", "2\n"]
    assert all(str(blind.nodes) in path.read_text() for path in search.experiment.glob("*/stdout"))
    assert set(blind.nodes.glob("*/*")) == before, "nothing is left on the nodes"


def errors(search: Search) -> str:
    return "".join(path.read_text() for path in search.experiment.glob("*/error.txt"))


def results(search: Search) -> int:
    if not (search.experiment / "journal").is_dir():
        return 0
    return sum(isinstance(fact, e.ResultReported) for fact in search.facts())
