"""`hpctune run --on` with a real Slurm behind a real sshd: a driver job, which does not need the connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ssh_lab import NAME, Laptop, Sshd, laptop, sshd

from .cluster import SlurmCluster

__all__ = ["laptop", "sshd"]
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(280)]
CONFIG = """
import time
import hpctune as tune
from helper import loss


def train(config):
    for step in range(1, STEPS + 1):
        tune.report({"loss": loss(config["x"], step)})
        time.sleep(PAUSE)


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([1.0, 2.0, 3.0])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
"""
HELPER = "def loss(x, step):\n    return (x - 2) ** 2 + 1 / step\n"


@pytest.fixture
def cluster(slurm_cluster: SlurmCluster, sshd: Sshd, tmp_path: Path) -> SlurmCluster:
    """Slurm, as the account behind ssh sees it; the trials' home is that account's."""
    tmp_path.chmod(0o755)
    sshd.stop()
    sshd.variables["SLURM_CONF"] = str(slurm_cluster.conf)
    sshd.start()
    return slurm_cluster


def project(laptop: Laptop, steps: int, pause: float) -> None:
    (laptop.work / "config.py").write_text(CONFIG.replace("STEPS", str(steps)).replace("PAUSE", str(pause)))
    (laptop.work / "helper.py").write_text(HELPER)


def test_the_driver_is_a_job(laptop: Laptop, cluster: SlurmCluster, sshd: Sshd) -> None:
    project(laptop, 3, 0.1)
    done = laptop.call("run", "config.py", "--on", NAME, "--yes", "--name", "far")
    print(done)
    assert done.code == 0, done
    assert 0
