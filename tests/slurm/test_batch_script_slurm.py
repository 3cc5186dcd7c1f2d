"""Batch scripts and loops over sbatch on Slurm, unmodified: requeued, with a killed driver, with their own srun."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from .cluster import SlurmCluster, wait_for

SCRIPT = """#!/bin/bash
#SBATCH --job-name=mine
#SBATCH --partition=scavenge --mem=200M
#SBATCH --time=7
#SBATCH --output=mine-%j.out
LR=0.1
for epoch in 1 2 3 4 5 6; do
    srun -n 1 {python} -c "print('loss:', $LR / $epoch, 'epoch', $epoch, 'job', $SLURM_JOB_ID)"
    sleep 0.3
done
"""
LOOP = """#!/bin/bash
for lr in 1 2 3; do
    sbatch --partition=main job.sbatch $lr
done
"""


def rows(experiment: Path) -> list[dict[str, float]]:
    return [json.loads(line) for f in experiment.glob("*/result.json") for line in f.read_text().splitlines()]


def test_a_script_with_its_own_srun_is_preempted_and_its_driver_killed(
    tmp_path: Path, slurm_cluster: SlurmCluster
) -> None:
    (tmp_path / "mine.sbatch").write_text(SCRIPT.format(python=sys.executable))
    experiment = tmp_path / "results" / "mine"
    words = ["hpctune", "run", "mine.sbatch", "--param", "LR=1,2,3", "--grid", "--metric", "loss: ([0-9.]+)"]
    words += ["--storage-path", "results", "-v", "1"]
    driver = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: rows(experiment) != [], 120, "a result")
    job = next(job for job in slurm_cluster.squeue() if job.state == "RUNNING")
    subprocess.run(["scontrol", "requeue", job.id], check=True)
    driver.send_signal(signal.SIGKILL)
    said, _ = driver.communicate()
    assert "hpctune sets itself: --job-name, --output" in said
    resumed = subprocess.run(
        ["hpctune", "resume", str(experiment)], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    found = rows(experiment)
    assert {row["loss"] for row in found} == {lr / epoch for lr in (1, 2, 3) for epoch in range(1, 7)}
    (script,) = {path.read_text() for path in (experiment / "jobs").glob("*_submission.sh")} or {"removed"}
    assert script == "removed" or "#SBATCH --partition=scavenge" in script
    assert not list(tmp_path.glob("mine-*.out"))


def test_a_loop_over_sbatch(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "job.sbatch").write_text("#!/bin/bash\n#SBATCH -t 5 --mem=100M\necho loss=$1 on $SLURMD_NODENAME\n")
    (tmp_path / "submit.sh").write_text(LOOP)
    words = ["hpctune", "run", "submit.sh", "--metric", "loss", "--storage-path", "results", "-v", "1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 jobs that would be submitted by submit.sh" in done.stderr
    assert sorted(row["loss"] for row in rows(tmp_path / "results" / "submit")) == [1, 2, 3]
