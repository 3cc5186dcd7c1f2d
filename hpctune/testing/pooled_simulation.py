"""A whole experiment in simulated time whose trials run on workers that stay: the real driver and the real pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.ports import Cluster
from hpctune.testing.simulated_pool import SimulatedPool
from hpctune.testing.simulation import Simulation


class PooledSimulation(Simulation):
    """As :class:`Simulation`, with a pool of ``workers`` jobs of the simulated cluster. ``look_s``: between two looks
    of workers and pool at each other's files. ``pool``: further options of the pool."""

    def __init__(
        self, root: Path, *, workers: int, look_s: float = 5.0, pool: dict[str, Any] | None = None, **given: Any
    ) -> None:
        super().__init__(root, **given)
        plain, poll_s = self.cluster, self.cluster.poll_s
        self.cluster = SimulatedPool(
            self.clock, root, plain.curve, slots=plain.slots, queue_wait_s=plain.queue_wait_s, poll_s=poll_s,
            quiet_poll_s=poll_s, look_s=look_s,
        )  # fmt: skip
        self._options = PoolOptions(workers=workers, poll_s=look_s, quiet_poll_s=poll_s, **(pool or {}))

    def cluster_for_driver(self) -> Cluster:
        """A new pool for each driver: what the last one remembered is gone."""
        return PooledCluster(self.cluster, self.paths.root, self.spec.experiment_id, self._options, self.clock)
