"""``hpctune sweep`` on Slurm: a batch script that works is taken as it is; a killed driver loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .cluster import SlurmCluster, wait_for

TRAIN = """
import argparse, os, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--epochs", type=int)
args = parser.parse_args()
for epoch in range(1, args.epochs + 1):
    print(f"epoch {epoch}: loss={args.lr / epoch} limit={os.environ['FROM_THE_SCRIPT']}", flush=True)
    time.sleep(0.2)
"""
SCRIPT = """#!/bin/bash
#SBATCH --job-name=mine
#SBATCH --partition=main
#SBATCH --time=7
#SBATCH --mem=300M
#SBATCH -o mine.out
export FROM_THE_SCRIPT=7
srun -n 1 {python} train.py --epochs 6
"""


@pytest.mark.nightly
def test_a_batch_script_with_other_parameters(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "run.sh").write_text(SCRIPT.format(python=sys.executable))
    options = ("--cluster", "slurm", "--storage-path", "results", "--name", "exp", "-v", "1")
    words = ("hpctune", "sweep", "--like", "run.sh", "lr=1,2,3,4", "--grid", "--metric", "loss", "--min", *options)
    driver = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    experiment = tmp_path / "results" / "exp"
    wait_for(lambda: list(experiment.glob("*/result.json")) != [], 90, "a result")
    job = next(job for job in slurm_cluster.squeue() if job.state == "RUNNING")
    subprocess.run(["scontrol", "requeue", job.id], check=True)
    (script,) = {p.read_text() for p in (experiment / "jobs").glob("*_submission.sh")}
    assert "#SBATCH --partition=main" in script
    assert "#SBATCH --time=7" in script
    driver.send_signal(signal.SIGKILL)
    said, _ = driver.communicate()
    assert "hpctune sets itself: --job-name, --output" in said
    resumed = subprocess.run(
        ["hpctune", "resume", str(experiment)], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    rows = [json.loads(line) for f in experiment.glob("*/result.json") for line in f.read_text().splitlines()]
    assert len(rows) == 4 * 6
    assert {(row["config"]["lr"], row["epoch"], row["loss"]) for row in rows} == {
        (lr, epoch, lr / epoch) for lr in (1, 2, 3, 4) for epoch in range(1, 7)
    }
    assert {row["limit"] for row in rows} == {7}
    assert not (tmp_path / "mine.out").exists()
