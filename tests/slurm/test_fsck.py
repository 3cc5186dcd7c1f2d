"""`hpctune fsck` looks into a real queue: jobs that no attempt wants are named, and cancelled on demand."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import spec_file
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths

from .cluster import SlurmCluster, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(200)]
TAG = "hpctune:abcde1234567:abcde_00000"


@pytest.fixture
def paths() -> Iterator[ExperimentPaths]:
    """An experiment with one trial, whose second attempt is in the queue by the journal."""
    with tempfile.TemporaryDirectory(prefix="hpctune-fsck-test-") as folder:
        paths = ExperimentPaths(Path(folder) / "exp")
        paths.root.mkdir(mode=0o700)
        spec_file.write(paths, ExperimentSpec("abcde1234567", "exp", 1.0, "train", cluster="slurm"))
        yield paths


def record(paths: ExperimentPaths, job_id: str) -> None:
    identity = "abcde_00000"
    facts: list[e.Event] = [
        e.TrialAdded(identity, 0, "train", "train_0", "0", {}, {}, Resources()),
        e.SubmitRequested(identity, 1),
        e.AttemptRevoked(identity, 1, "never confirmed"),
        e.SubmitRequested(identity, 2),
        e.SubmitAcknowledged(identity, 2, job_id),
    ]
    journal = Journal(paths.journal)
    journal.append([[e.Recorded(2.0, fact)] for fact in facts])
    journal.close()


def fsck(paths: ExperimentPaths, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "hpctune"), "fsck", str(paths.root), "--json", *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (report,) = json.loads(done.stdout)
    return done.returncode, report


def orphans(report: dict[str, Any], part: str) -> list[str]:
    return [f["action"] for f in report[part] if f["kind"] == "orphaned job"]


def test_orphaned_jobs(slurm_cluster: SlurmCluster, paths: ExperimentPaths) -> None:
    def sbatch(comment: str) -> str:
        return slurm_cluster.sbatch("--hold", f"--comment={comment}", "--wrap=true", "-o", "/dev/null")

    lost, wanted, unknown = sbatch(f"{TAG}:1"), sbatch(f"{TAG}:2"), sbatch("hpctune:abcde1234567:abcde_00007:1")
    foreign, other = sbatch("mine"), sbatch("hpctune:ffff12345678:ffff1_00000:1")
    record(paths, wanted)
    code, report = fsck(paths)
    assert code == 2, "its code is not there"
    assert orphans(report, "left") == [f"Cancel them with --cancel-orphans, or: scancel {lost} {unknown}"]
    assert len(slurm_cluster.squeue()) == 5
    _, report = fsck(paths, "--cancel-orphans", "--dry-run")
    assert len(slurm_cluster.squeue()) == 5
    _, report = fsck(paths, "--cancel-orphans")
    assert orphans(report, "repaired") == ["cancelled"]
    wait_for(lambda: {job.id for job in slurm_cluster.squeue()} == {wanted, foreign, other}, what="the others alone")
    _, report = fsck(paths)
    assert orphans(report, "left") == []
    slurm_cluster.cancel_all()


@pytest.mark.nightly
def test_no_controller_no_harm(slurm_cluster: SlurmCluster, paths: ExperimentPaths) -> None:
    """Whether jobs run is not known then: what they may still write is left alone."""
    record(paths, "1")
    staging = paths.trial("train_0").root / ".checkpoint_staging_0123456789ab"
    staging.mkdir(parents=True)
    slurm_cluster.stop_slurmctld()
    try:
        _, report = fsck(paths)
    finally:
        slurm_cluster.start_slurmctld()
    assert [f["kind"] for f in report["notes"]].count("jobs") == 1
    assert staging.is_dir()
    _, report = fsck(paths)
    assert "half-made checkpoint" in [f["kind"] for f in report["repaired"]]
    assert not staging.exists()
