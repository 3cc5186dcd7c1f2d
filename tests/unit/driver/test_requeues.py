"""Jobs that Slurm requeues while the processes of earlier runs live on, on nodes that were lost."""

from __future__ import annotations

from pathlib import Path

from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola


def test_a_checkpoint_that_a_zombie_makes_after_it_was_superseded_is_not_used(tmp_path: Path) -> None:
    """Run 0 loses its node and lives on; run 1 takes over; then run 0 saves a checkpoint; then run 2 takes over.

    Run 2 must start from what counts. Seen by the property suite: iterations [1, 3, 4, ...] counted.
    """
    curve = Curve(metrics=hyperbola, iterations=6, checkpoint_every=2)
    simulation = Simulation(tmp_path / "exp", num_samples=1, slots=3, curve=curve, poll_s=1.0)
    driver = simulation.driver()
    driver.start()

    def until(seconds: float) -> None:
        end = simulation.clock.now() + seconds
        while simulation.clock.now() < end:
            simulation.clock.sleep(min(driver.step() or 0.5, end - simulation.clock.now()))

    until(90.0)  # run 0 has reported iteration 1
    simulation.cluster.requeue("1", zombie=True)
    until(45.0)  # run 1 has begun again; run 0 has reported iteration 2, and saved it
    assert simulation.cluster.history[-1].key.restart == 1
    simulation.cluster.requeue("1", zombie=True)
    until(1200.0)
    assert driver.finished
    driver.leave("finished")
    rows = read_experiment(simulation.paths.root, with_rows=True).rows
    assert [r.row["training_iteration"] for r in rows] == [1, 2, 3, 4, 5, 6]
