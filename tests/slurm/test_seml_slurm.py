"""An experiment of SEML on Slurm, unmodified: its sbatch options, several experiments in a job, its driver killed."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .cluster import SlurmCluster, wait_for

pytest.importorskip("sacred")
TRAIN = """
import os, time
from sacred import Experiment

ex = Experiment("mine", save_git_info=False)

@ex.automain
def main(lr, _run):
    with open("begun.txt", "a") as file:
        file.write(f"{lr} {os.environ['SLURM_JOB_ID']}\\n")
    for epoch in range(4):
        _run.log_scalar("loss", lr / (epoch + 1), epoch)
        time.sleep(1)
    return {"partition": int(os.environ["SLURM_JOB_PARTITION"] == "main")}
"""
FILE = """
seml: {executable: train.py, name: mine}
slurm:
  - experiments_per_job: 2
    max_simultaneous_jobs: 2
    sbatch_options: {partition: main, mem: 400M, cpus-per-task: 2, time: 0-00:10}
grid: {lr: {type: choice, options: [1, 2, 3, 4]}}
"""


def rows(experiment: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for f in experiment.glob("*/result.json") for line in f.read_text().splitlines()]


@pytest.mark.nightly
def test_an_experiment_whose_driver_is_killed(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "experiment.yaml").write_text(FILE)
    words = ["hpctune", "run", "experiment.yaml", "--metric", "loss", "--storage-path", "results", "-v", "1"]
    driver = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = tmp_path / "begun.txt"
    wait_for(lambda: begun.exists() and len(begun.read_text().splitlines()) >= 2, 120, "the start of two experiments")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    resumed = subprocess.run(
        ["hpctune", "resume", "results/mine"], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    found = rows(tmp_path / "results" / "mine")
    assert {row["loss"] for row in found} == {lr / epoch for lr in (1, 2, 3, 4) for epoch in range(1, 5)}
    assert [row["partition"] for row in found if "partition" in row] == [1, 1, 1, 1]
    jobs = [line.split() for line in begun.read_text().splitlines()]
    assert len({job for _, job in jobs}) <= 2
    assert sorted({float(lr) for lr, _ in jobs}) == [1, 2, 3, 4]
