"""The cost ledger on a real Slurm with accounting: its sums are sacct's, whatever happened to the jobs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from hpctune.model import events as e

from .cluster import SlurmCluster, wait_for
from .conftest import running_cluster
from .search import Search

pytestmark = [pytest.mark.slurm]

CONFIG = """
import time
import hpctune as tune

def train(config):
    if config["who"] == 1:
        raise ValueError("no")
    again = tune.get_checkpoint() is not None
    for i in range(1, 1000):
        time.sleep(0.2)
        if again or config["who"] == 0 and i > 5:
            return
        if i == 1:
            with tune.checkpoint_dir(step=i) as directory:
                open(directory + "/i", "w").close()
        tune.report(i=i)

tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 2, "gpu": 1}), param_space={"who": tune.grid_search([0, 1, 2])},
    run_config=tune.RunConfig(name="run"),
)
"""


@pytest.fixture(scope="module")
def accounted() -> Iterator[SlurmCluster]:
    with running_cluster("--nodes", "2", "--accounting") as cluster:
        yield cluster


def results(search: Search) -> int:
    there = (search.experiment / "journal").is_dir()
    return sum(isinstance(fact, e.ResultReported) for fact in search.facts()) if there else 0


def cost(search: Search, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "hpctune.cli.main", "cost", str(search.experiment), "--json", *options]
    told: dict[str, Any] = json.loads(run(command, capture_output=True, text=True, check=True).stdout)
    return told


def sums(cluster: SlurmCluster) -> dict[str, float]:
    """Plain sums of all that sacct says of all jobs."""
    columns = "--format=ElapsedRaw,CPUTimeRAW,AllocNodes,AllocTRES"
    text = cluster.run("sacct", "-n", "-P", "-X", "--duplicates", "-S", "now-1days", columns)
    found = dict.fromkeys(("cpu_hours_held", "node_hours_held", "gpu_hours_held", "billing_hours"), 0.0)
    for line in text.splitlines():
        elapsed, cpu_s, nodes, tres = line.split("|")
        words = dict(part.split("=") for part in tres.split(",") if part)
        found["cpu_hours_held"] += int(cpu_s) / 3600
        found["node_hours_held"] += int(elapsed) * int(nodes) / 3600
        found["gpu_hours_held"] += int(elapsed) * int(words.get("gres/gpu", 0)) / 3600
        found["billing_hours"] += int(elapsed) * int(words.get("billing", 0)) / 3600
    return found


def test_the_ledger_is_what_sacct_says(accounted: SlurmCluster, tmp_path: Path) -> None:
    """One trial ends by itself, one fails, one is requeued and goes on; and the budget is in Slurm's own units."""
    search = Search(tmp_path, CONFIG, "-p", "scavenge", "-t", "5", "--budget", "100billing")
    try:
        wait_for(lambda: results(search) >= 15, what="results of the third trial after its checkpoint")
        requeued = next(job.id for job in accounted.squeue("-t", "RUNNING") if job.id.endswith(("_2", "3")))
        accounted.run("scontrol", "requeue", requeued)
        search.finish(code=1)
    finally:
        search.driver.kill()
        search.driver.communicate()
        accounted.cancel_all()
    wait_for(lambda: "Unknown" not in accounted.run("sacct", "-n", "-P", "-X", "-o", "End"), what="the database")
    told = cost(search)
    total, expected = told["total"], sums(accounted)
    assert told["sources"] == {"run": "Slurm's accounting"}
    assert {name: total[name] for name in expected} == pytest.approx(expected, rel=0.01)
    assert 0 < total["cpu_hours_used"] < total["cpu_hours_held"] == total["cpu_hours_asked"]
    by_cause = {group["cause"]: group for group in told["groups"]}
    assert {"user code", "start-up", "preemption", "failure"} <= set(by_cause)
    for by in ("trial", "partition", "account", "user", "week", "job"):
        groups = cost(search, "--by", by)["groups"]
        assert sum(g["gpu_hours_held"] for g in groups) == pytest.approx(expected["gpu_hours_held"])
    (partition,) = cost(search, "--by", "partition")["groups"]
    assert partition["partition"] == "scavenge"
    budget = json.loads(
        run(
            [sys.executable, "-m", "hpctune.cli.main", "status", str(search.experiment), "--json"],
            capture_output=True, text=True, check=True,
        ).stdout
    )["budget"]  # fmt: skip
    assert (budget["amount"], budget["unit"]) == (100, "billing hours")
    assert budget["held"] == pytest.approx(expected["billing_hours"], rel=0.3), "by our own clock, of a few seconds"
