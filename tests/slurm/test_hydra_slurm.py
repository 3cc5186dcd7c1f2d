"""A Hydra multirun on Slurm with a launcher's fields: requeued, and its driver killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .cluster import SlurmCluster, wait_for

pytest.importorskip("hydra")

APP = """
import os, time
import hydra
import hpctune
from hydra.core.hydra_config import HydraConfig

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    with open("begun.txt", "a") as file:
        file.write(f"{cfg.lr}\\n")
    for step in range(8):
        hpctune.report(step=step)
        time.sleep(0.3)
    assert HydraConfig.get().job.id == os.environ["SLURM_JOB_ID"]
    return cfg.lr * 2

if __name__ == "__main__":
    main()
"""
LAUNCHER = """
_target_: hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher
partition: scavenge
timeout_min: 5
mem_gb: 1
submitit_folder: ${hydra.sweep.dir}/.submitit/%j
"""


@pytest.mark.nightly
def test_a_multirun_is_requeued_and_its_driver_killed(tmp_path: Path, slurm_cluster: SlurmCluster) -> None:
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conf" / "config.yaml").write_text("lr: 1\n")
    (tmp_path / "conf" / "hydra" / "launcher" / "site.yaml").write_text(LAUNCHER)
    words = [sys.executable, "app.py", "-m", "hydra/sweeper=hpctune", "hydra/launcher=site", "hydra.sweep.dir=out"]
    driver = subprocess.Popen([*words, "lr=1,2,3"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = tmp_path / "begun.txt"
    wait_for(lambda: begun.exists() and len(begun.read_text().split()) == 3, 120, "the start of all three")
    job = next(job for job in slurm_cluster.squeue() if job.state == "RUNNING")
    subprocess.run(["scontrol", "requeue", job.id], check=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    resumed = subprocess.run(
        [*words, "lr=1,2,3", "hydra.sweeper.resume=true"], cwd=tmp_path, capture_output=True, text=True, timeout=200,
        check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert len(begun.read_text().split()) > 3
    results = (tmp_path / "out" / "optimization_results.yaml").read_text()
    assert "best_value: 2.0" in results
    overrides = [(tmp_path / "out" / str(n) / ".hydra" / "overrides.yaml").read_text() for n in range(3)]
    assert overrides == [f"- lr={n}\n" for n in (1, 2, 3)]
