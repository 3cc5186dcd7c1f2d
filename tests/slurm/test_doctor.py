"""`hpctune doctor` on a real Slurm: what it finds, and that it leaves nothing behind, whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.filesystem_support import two_clients

from .cluster import SlurmCluster, wait_for
from .conftest import running_cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(200)]
BIN = Path(sys.executable).parent / "hpctune"


@pytest.fixture
def storage() -> Iterator[Path]:
    """Not below pytest's own directory, which other users (as whom slurmd may run) cannot enter."""
    with tempfile.TemporaryDirectory(prefix="hpctune-doctor-test-") as folder:
        yield Path(folder)


def start(storage: Path, *options: str, **env: str) -> subprocess.Popen[str]:
    command = [str(BIN), "doctor", "--cluster", "slurm", "--dir", str(storage), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    )


def doctor(storage: Path, *options: str, **env: str) -> tuple[int, dict[str, Any], str]:
    process = start(storage, "--json", *options, **env)
    out, err = process.communicate(timeout=150)
    assert out, err
    return process.returncode, json.loads(out), err


def found(report: dict[str, Any], *marks: str) -> str:
    return "\n".join(f"{c['mark']} {c['found']} {c['meaning']}" for c in report["checks"] if c["mark"] in marks)


def nothing_left(cluster: SlurmCluster, storage: Path) -> None:
    wait_for(lambda: not cluster.squeue(), what="the job to be gone")
    assert list(storage.iterdir()) == []


def test_a_sound_site(slurm_cluster: SlurmCluster, storage: Path) -> None:
    code, report, err = doctor(storage, "-p", "main", "--gpu", SLURM_CPUS_PER_TASK="7", SBATCH_QOS="wrong")
    assert (code, report["failed"]) == (0, False), found(report, "fail")
    everything = found(report, "ok", "info", "warn")
    for words in (
        "sbatch, squeue, scancel, scontrol, sinfo, srun, sacct", "slurmctld answers in", "no accounting database",
        "main, the default: up, 4 nodes, at most UNLIMITED", "short: up, 4 nodes, at most 00:05:00",
        "MaxJobCount", "interrupted jobs are requeued", "3 s from SIGTERM to SIGKILL", "main: 4 nodes with 4 x gpu",
        "rename, exclusive create and links work", "file locks (flock) work", "free", "seen there after: create",
        "one winner in 40 races", "a lock held here (flock) is seen there", "its clock agrees with ours",
        "the same versions of", "'import hpctune' takes", "no SBATCH_* or SLURM_*", "the job sees its GPU",
    ):  # fmt: skip
        assert words in everything, (words, everything)
    calls = [c["found"] for c in report["checks"] if c["area"] == "Calls made"]
    assert len(calls) <= 7
    assert {s["name"]: s["value"] for s in report["settings"]} == {"partition": "main"}
    assert err == ""
    nothing_left(slurm_cluster, storage)


def test_the_settings_are_kept_as_a_profile(slurm_cluster: SlurmCluster, storage: Path, tmp_path: Path) -> None:
    code, report, err = doctor(
        storage, "--no-job", "-p", "scavenge", "--profile", "mine", XDG_CONFIG_HOME=str(tmp_path)
    )
    assert code == 0
    assert "hpctune run CONFIG.py --profile mine" in err
    kept = tomllib.loads((tmp_path / "hpctune" / "config.toml").read_text())["profile"]["mine"]
    assert kept["partition"] == "scavenge"
    assert kept.items() <= {s["name"]: s["value"] for s in report["settings"]}.items()


def test_text_fits_the_terminal(slurm_cluster: SlurmCluster, storage: Path) -> None:
    process = start(storage / "made" / "for this", "--no-job", COLUMNS="80")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert max(map(len, out.splitlines())) <= 80
    assert "No problem was found." in out
    assert "... asking Slurm" in err
    assert "Test job" not in out
    nothing_left(slurm_cluster, storage)


def test_a_job_that_waits_is_explained_and_cancelled(slurm_cluster: SlurmCluster, storage: Path) -> None:
    slurm_cluster.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    code, report, _ = doctor(storage, "-p", "short", "--wait", "3")
    assert code == 0
    warnings = found(report, "warn")
    assert "short takes no jobs now (down)" in warnings
    assert "waited for 3 s: PartitionDown: the partition is down It was cancelled." in warnings
    assert ("time", "00:05:00") in [(s["name"], s["value"]) for s in report["settings"]]
    nothing_left(slurm_cluster, storage)


def test_a_partition_that_does_not_exist(slurm_cluster: SlurmCluster, storage: Path) -> None:
    code, report, _ = doctor(storage, "-p", "nope")
    assert code == 1
    assert "there is no partition 'nope' There are: main, scavenge, urgent, short." in found(report, "fail")
    assert report["settings"] == []
    nothing_left(slurm_cluster, storage)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_its_job_waits(slurm_cluster: SlurmCluster, storage: Path, number: signal.Signals) -> None:
    slurm_cluster.run("scontrol", "update", "PartitionName=short", "State=DOWN")
    process = start(storage, "-p", "short", "--wait", "300")
    wait_for(lambda: slurm_cluster.squeue(), what="its job")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143), err
    assert "tidying up" in err
    assert slurm_cluster.squeue() == []
    nothing_left(slurm_cluster, storage)


def test_preemption_is_told(slurm_cluster: SlurmCluster, storage: Path) -> None:
    _, report, _ = doctor(storage, "-p", "scavenge", "--no-job")
    assert "jobs in scavenge can be preempted (requeue), 3 s notice" in found(report, "warn")


@pytest.mark.nightly
def test_no_controller(slurm_cluster: SlurmCluster, storage: Path) -> None:
    """What can be checked from here is; the test's end starts slurmctld again."""
    slurm_cluster.stop_slurmctld()
    try:
        code, report, _ = doctor(storage)
    finally:
        slurm_cluster.start_slurmctld()
    assert code == 1
    assert re.search("slurmctld does not answer: slurm_load_ctl_conf error: ?Unable to contact", found(report, "fail"))
    assert "rename, exclusive create and links work" in found(report, "ok")
    assert list(storage.iterdir()) == []


def test_limits_of_the_accounting_database(storage: Path) -> None:
    """MaxSubmitJobs is read, and advice follows."""
    with running_cluster("--nodes", "1", "--max-submit", "20"):
        code, report, _ = doctor(storage, "--no-job")
    assert code == 0, found(report, "fail")
    assert "at most 20 of your jobs at a time" in found(report, "warn")
    assert {s["name"]: s["value"] for s in report["settings"]}["max_submitted"] == 16
    assert "accounting by slurmdbd; your accounts:" in found(report, "ok")


@pytest.mark.nightly
def test_what_a_node_sees_seconds_late_is_measured(slurm_cluster: SlurmCluster) -> None:
    """Here and on the node one directory through two mounts, with the caches of a shared filesystem."""
    with two_clients(cache_s=3) as clients:
        storage = clients.one / "results"
        storage.mkdir()
        python = clients.python_of_the_other(sys.executable)
        code, report, err = doctor(storage, "-p", "main", "--python", str(python))
        assert (code, report["failed"]) == (0, False), found(report, "fail") + err
        late = re.search(r"Results and orders are late by up to ([\d.]+) s", found(report, "warn"))
        assert late is not None, found(report, "warn")
        assert 1 < float(late[1]) < 10
        assert "a lock held here (flock) is not seen there" in found(report, "warn")
        assert "one winner in 40 races" in found(report, "ok")
        assert [s["name"] for s in report["settings"]] == ["partition"]
        nothing_left(slurm_cluster, storage)
