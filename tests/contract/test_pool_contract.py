"""A pool of workers does, over this machine, what every cluster must."""

from __future__ import annotations

from pathlib import Path

from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.options import LocalOptions
from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite


class TestPooledLocalCluster(ClusterSuite):
    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        inner = LocalCluster(experiment_dir, experiment_id, LocalOptions(cpus=4, gpus=0), clock)
        options = PoolOptions(workers=self.places, idle_timeout_s=60.0)
        return PooledCluster(inner, experiment_dir, experiment_id, options, clock)

    def shrink(self, cluster: Cluster, clock: Clock) -> None:
        super().shrink(cluster, clock)
        assert isinstance(cluster, PooledCluster)
        self.until(clock, lambda: [cluster.jobs()] and cluster.summary() == "no workers", "all workers have left")
