"""What the jobs of trials waited, as driver.json and hpctune status tell."""

from __future__ import annotations

from pathlib import Path

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import snapshot
from hpctune.cli.statustext import as_dict, render
from hpctune.driver import status_file
from hpctune.testing.pooled_simulation import PooledSimulation
from hpctune.testing.simulation import Simulation


def advance(simulation: Simulation, seconds: float) -> None:
    """Drive for so long, then leave."""
    driver = simulation.driver()
    driver.start()
    until = simulation.clock.now() + seconds
    while simulation.clock.now() < until and not driver.finished:
        simulation.clock.sleep(driver.step())
    driver.leave("enough")


def words(simulation: Simulation) -> str:
    found = status_file.read(simulation.paths)
    assert found is not None
    return found.queue


def test_what_jobs_waited_and_took_to_their_first_result(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "exp", num_samples=6, slots=2, queue_wait_s=720.0)
    advance(simulation, 300.0)
    assert words(simulation) == "jobs have waited 5 min in the queue so far"
    advance(simulation, 900.0)
    assert words(simulation) in (
        "jobs waited 12 min in the queue (median of 2), start-up 60 s",
        "jobs waited 13 min in the queue (median of 2), start-up 60 s",
    )
    driver = simulation.driver()
    driver.start()
    driver.leave("looked")
    assert "median of 2" in words(simulation), "another driver knows it from the journal"
    shot = snapshot.take(FollowedExperiment(simulation.paths.root), simulation.clock.now())
    assert f"  queue     {words(simulation)}\n" in render(shot, 120)
    assert as_dict(shot)["cluster"]["queue"] == words(simulation)


def test_with_a_pool_it_is_the_workers_that_wait(tmp_path: Path) -> None:
    simulation = PooledSimulation(tmp_path / "exp", workers=2, num_samples=20, slots=2, queue_wait_s=720.0)
    advance(simulation, 3600.0)
    assert words(simulation) == "jobs waited 12 min in the queue (median of 2), start-up 2 s"
