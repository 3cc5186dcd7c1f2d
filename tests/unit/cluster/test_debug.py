"""Debugging: user code in the main thread, the drive in another; and the choice between clusters."""

from __future__ import annotations

import bdb
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hpctune.cluster.choice import ClusterChoice, resolve_cluster, slurm_is_here
from hpctune.cluster.debug import DebugCluster
from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.errors import UsageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, Refused
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.testing.cluster_suite import SuiteClock


def request(number: int = 1) -> JobRequest:
    command = ("python", "-m", "hpctune.worker", "/exp", f"trial_{number}", "1")
    out = Path(os.devnull)
    return JobRequest(Tag("e", f"t{number}", 1), "x", command, Resources(), out, out, {"DEBUGGED": str(number)})


def cluster(run: Callable[[JobRequest], int]) -> DebugCluster:
    return DebugCluster(Path("/exp"), "e", run=run)


def ended(made: DebugCluster) -> list[JobState]:
    """The states of all jobs, when all are over."""
    tick = threading.Event()
    while not all(j.state.final for j in made.jobs()):
        tick.wait(0.002)
    return [j.state for j in made.jobs()]


def test_jobs_run_in_the_main_thread_one_after_another_with_their_environment() -> None:
    seen: list[tuple[bool, str | None, str]] = []

    def run(asked: JobRequest) -> int:
        main = threading.current_thread() is threading.main_thread()
        seen.append((main, os.environ.get("DEBUGGED"), os.environ["HPCTUNE_JOB_ID"]))
        assert made.room(Resources()) == 0
        return 0

    made = cluster(run)

    def drive() -> str:
        assert threading.current_thread() is not threading.main_thread()
        assert made.room(Resources()) == 1
        outcomes = made.submit([request(1), request(2)])
        assert all(isinstance(o, Accepted) for o in outcomes)
        assert ended(made) == [JobState.COMPLETED] * 2
        assert made.room(Resources()) == 1
        return "driven"

    assert made.serve(drive) == "driven"
    assert seen == [(True, "1", "debug-1"), (True, "2", "debug-2")]
    assert "DEBUGGED" not in os.environ


def test_what_the_drive_raises_is_raised() -> None:
    def drive() -> None:
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        cluster(lambda asked: 0).serve(drive)


@pytest.mark.parametrize("how", ["code", "error"])
def test_a_failed_job_is_failed_and_the_drive_goes_on(how: str) -> None:
    def run(asked: JobRequest) -> int:
        if how == "error":
            raise OSError("disk")
        return 3

    made = cluster(run)

    def drive() -> str:
        made.submit([request()])
        assert ended(made) == [JobState.FAILED]
        return made.jobs()[0].reason

    assert made.serve(drive) in ("exit code 3", "OSError: disk")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, bdb.BdbQuit])
def test_ctrl_c_in_user_code_cancels_the_job_and_reaches_drive_and_caller(interrupt: type[BaseException]) -> None:
    told: list[object] = []

    def run(asked: JobRequest) -> int:
        raise interrupt

    made = cluster(run)

    def drive() -> None:
        made.submit([request(1), request(2)])
        try:
            ended(made)
        except KeyboardInterrupt:
            told.append([j.state for j in made.jobs()])
            told.append(made.submit([request(3)])[0])
            told.append(made.room(Resources()))

    with pytest.raises(KeyboardInterrupt):
        made.serve(drive)
    assert told[0] == [JobState.CANCELLED, JobState.PENDING]
    assert isinstance(told[1], Refused)
    assert told[2] == 0


def test_a_waiting_job_can_be_cancelled() -> None:
    go = threading.Event()

    def run(asked: JobRequest) -> int:
        assert go.wait(10)
        return 0

    made = cluster(run)

    def drive() -> list[JobState]:
        made.submit([request(1), request(2)])
        made.cancel(["debug-2", "debug-7"])
        go.set()
        return ended(made)

    assert made.serve(drive) == [JobState.COMPLETED, JobState.CANCELLED]


def test_unserved_jobs_are_refused_and_several_tasks_are_not() -> None:
    made = cluster(lambda asked: 0)
    (outcome,) = made.submit([request()])
    assert isinstance(outcome, Refused)
    assert outcome.permanent
    made.check(Resources.parse(PlacementGroupFactory([{"CPU": 1.0}] * 2)))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("SLURM_CONF", "SLURM_CONF_SERVER"):
        monkeypatch.delenv(name, raising=False)
    return folder


def install(folder: Path, configured: bool) -> None:
    for name in ("sbatch", "scontrol"):
        (folder / name).write_text(f"#!/bin/sh\nexit {0 if configured else 1}\n")
        (folder / name).chmod(0o755)


def test_auto_is_slurm_only_where_it_is_installed_and_configured(programs: Path, tmp_path: Path) -> None:
    assert isinstance(resolve_cluster("auto").build(tmp_path, "e", SuiteClock()), LocalCluster)
    install(programs, configured=True)
    assert isinstance(resolve_cluster("auto", {"partition": "p"}).build(tmp_path, "e", SuiteClock()), SlurmCluster)
    assert isinstance(resolve_cluster(LocalOptions()).build(tmp_path, "e", SuiteClock()), LocalCluster)
    assert slurm_is_here({"PATH": str(programs), "SLURM_CONF": "/x"})


def test_options_choose_where_auto_is_left_to_choose(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sbatch is not on PATH"):
        resolve_cluster("auto", SlurmOptions()).build(tmp_path, "e", SuiteClock())


def test_wrong_names_and_options_are_refused(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'pbs' is not a valid cluster. Valid are: auto, slurm, local, ssh, debug"):
        resolve_cluster("pbs").build(tmp_path, "e", SuiteClock())
    with pytest.raises(UsageError, match="module load slurm"):
        resolve_cluster("slurm").build(tmp_path, "e", SuiteClock())
    with pytest.raises(UsageError, match="Give LocalOptions"):
        ClusterChoice("local", SlurmOptions()).build(tmp_path, "e", SuiteClock())
    install(programs, configured=False)
    with pytest.raises(UsageError, match="Give SlurmOptions"):
        ClusterChoice("slurm", LocalOptions()).build(tmp_path, "e", SuiteClock())
    assert resolve_cluster("debug").build(tmp_path, "e", SuiteClock()).name == "debug"
