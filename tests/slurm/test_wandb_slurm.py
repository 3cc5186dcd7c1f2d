"""A sweep of W&B on Slurm, unmodified: requeued, and its driver killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from .cluster import SlurmCluster, wait_for

TRAIN = """
import os, time
import wandb
run = wandb.init()
with open("runs.txt", "a") as file:
    file.write(f"{wandb.config.lr} {run.id}\\n")
for epoch in range(6):
    run.log({"loss": wandb.config.lr / (epoch + 1)})
    time.sleep(1)
"""
SWEEP = """
method: grid
program: train.py
name: mine
metric: {{name: loss}}
command: [{python}, "${{program}}"]
parameters: {{lr: {{values: [1, 2, 3]}}}}
"""


def rows(experiment: Path) -> list[dict[str, float]]:
    return [json.loads(line) for f in experiment.glob("*/result.json") for line in f.read_text().splitlines()]


def test_a_sweep_is_requeued_and_its_driver_killed(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(python=sys.executable))
    experiment = tmp_path / "results" / "mine"
    words = ["hpctune", "run", "sweep.yaml", "-p", "scavenge", "--mem", "200M", "--storage-path", "results", "-v", "1"]
    driver = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = tmp_path / "runs.txt"
    wait_for(lambda: runs.exists() and len(runs.read_text().splitlines()) == 3, 120, "the start of all three")
    job = next(job for job in slurm_cluster.squeue() if job.state == "RUNNING")
    subprocess.run(["scontrol", "requeue", job.id], check=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    resumed = subprocess.run(
        ["hpctune", "resume", str(experiment)], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert {row["loss"] for row in rows(experiment)} == {lr / epoch for lr in (1, 2, 3) for epoch in range(1, 7)}
    begun = [line.split() for line in runs.read_text().splitlines()]
    assert len(begun) > 3  # one has begun again
    assert len({tuple(run) for run in begun}) == len({run_id for _, run_id in begun}) == 3
