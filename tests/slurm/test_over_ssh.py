"""`hpctune run --on` with a real Slurm behind a real sshd: a driver job, which does not need the connection."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path

import pytest

from tests.support.ssh_lab import HELPER, NAME, Laptop, Proxy, Said, Sshd, laptop, sshd

from .cluster import SlurmCluster, wait_for

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
RUN = ("run", "config.py", "--on", NAME, "--yes", "--name", "far")


@pytest.fixture
def cluster(slurm_cluster: SlurmCluster, sshd: Sshd, tmp_path: Path) -> SlurmCluster:
    """Slurm, as the account behind ssh sees it."""
    tmp_path.chmod(0o755)
    sshd.stop()
    sshd.variables["SLURM_CONF"] = str(slurm_cluster.conf)
    sshd.start()
    return slurm_cluster


def driver_jobs(cluster: SlurmCluster) -> list[str]:
    """Those that there have been, of earlier tests as well."""
    return [job.id for job in cluster.squeue(ended=True) if job.name == "hpctune-driver-far"]


def project(laptop: Laptop, steps: int, pause: float) -> None:
    (laptop.work / "config.py").write_text(CONFIG.replace("STEPS", str(steps)).replace("PAUSE", str(pause)))
    (laptop.work / "helper.py").write_text(HELPER)


def test_the_driver_is_a_job(laptop: Laptop, cluster: SlurmCluster, sshd: Sshd) -> None:
    """The first run looks at the site; Ctrl-C changes nothing; the same command follows until the end."""
    before = len(driver_jobs(cluster))
    project(laptop, 3, 0.8)
    first = laptop.start(*RUN)
    wait_for(lambda: len(cluster.squeue()) >= 2, 60, "the driver jobs")
    wait_for(lambda: (sshd.home / "hpctune_results" / "far" / "experiment.json").exists(), 60, "the experiment")
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert first.returncode == 3, (out, err)
    assert "The first run on cluster: hpctune doctor looks at it." in err
    assert "ran, " in out, "doctor's test job"
    assert "No problem was found" in out
    again = laptop.call(*RUN)
    assert again.code == 0, again
    assert "hpctune doctor" not in again.err, "the site is known"
    assert re.search(r"The driver of .*/far is job \d+, followed by \d+", again.out)
    assert "3 of 3 (3 completed)" in again.out
    assert "ends: the experiment is over" in again.out
    assert "state     finished: all trials are done" in again.out
    assert re.search(r"received .*; \d+ calls\.", again.err)
    wait_for(lambda: not cluster.squeue(), 30, "an empty queue")
    assert len(driver_jobs(cluster)) == before + 2, "the driver and its successor, once"


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_whole_session_while_the_connection_is_cut(laptop: Laptop, cluster: SlurmCluster, sshd: Sshd) -> None:
    proxy = Proxy(sshd.port, seed=5)
    laptop.knows(sshd, proxy.port)
    laptop.config.write_text(laptop.config.read_text().replace(f"Port {sshd.port}", f"Port {proxy.port}"))
    before = len(driver_jobs(cluster))
    project(laptop, 20, 0.5)
    shown = laptop.call("run", "config.py", "--on", NAME, "--yes", "--no-doctor", "--dry-run")
    assert shown.code == 0, shown
    assert "far" not in [path.name for path in sshd.home.glob("hpctune_results/*")]
    assert laptop.call("doctor", "--on", NAME, "--no-job").code == 0

    cut = threading.Event()

    def cutting() -> None:
        while not cut.wait(proxy.random.uniform(0.3, 4)):
            proxy.cut()
            proxy.cuts += 1

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        said = until_done(laptop, *RUN)
    finally:
        cut.set()
        thread.join()
    assert "3 of 3 (3 completed)" in said.out
    assert "state     finished: all trials are done" in laptop.call("status", "far", "--on", NAME).out
    assert proxy.cuts > 3
    assert len(driver_jobs(cluster)) == before + 2, "the driver and its successor, once"

    going_on = laptop.start("resume", "far", "--num-samples", "3", "--on", NAME)
    wait_for(lambda: "running" in laptop.call("status", "far", "--on", NAME).out, 60, "more trials")
    assert "Told the driver to stop" in laptop.call("stop", "far", "--on", NAME).out
    out, err = going_on.communicate(timeout=120)
    assert going_on.returncode == 0, (out, err)
    assert len(driver_jobs(cluster)) == before + 4, "a job again"
    assert laptop.call("fetch", "far", "--on", NAME).code == 0
    assert laptop.call("status", "far").code == 0
    assert [path.name for path in sshd.home.glob("hpctune_results/*")] == ["far"]
    wait_for(lambda: not cluster.squeue(), 30, "an empty queue")
    proxy.close()


def until_done(laptop: Laptop, *words: str) -> Said:
    """Give the same command until it has done its work."""
    for _ in range(60):
        said = laptop.call(*words, timeout=300)
        if said.code == 0:
            return said
        assert said.code in (1, 3), said
        assert re.search(r"was lost|cannot be reached", said.err), said
    raise AssertionError(f"in vain: {said}")
