"""A script for KerasTuner on Slurm, unmodified: a job is preempted, and the driver is killed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from hpctune.model.trial import Phase
from hpctune.storage.reader import read_experiment
from tests.integrations.test_keras_tuner import FUNCTION, pytestmark as needs

from .cluster import SlurmCluster, wait_for

pytestmark = needs


def test_a_job_is_requeued_and_the_driver_killed(
    tmp_path: Path, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "search.py").write_text(FUNCTION)
    monkeypatch.setenv("PAUSE", "3")
    command = ["hpctune", "run", "search.py", "--cluster", "slurm", "--storage-path", "results", "--name", "mine",
               "--mem", "2G"]  # fmt: skip
    driver = subprocess.Popen(
        [*command, "--", "random"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    begun = tmp_path / "begun.txt"
    wait_for(lambda: begun.exists() and len(begun.read_text().splitlines()) >= 1, 200, "the start of a trial")
    running = next(job for job in slurm_cluster.squeue() if job.state == "RUNNING")
    slurm_cluster.run("scontrol", "requeue", running.id)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    resumed = subprocess.run(
        ["hpctune", "resume", "results/mine"], cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    found = read_experiment(tmp_path / "results" / "mine").state.trials
    assert [trial.phase for trial in found.values()] == [Phase.TERMINATED] * 6
