"""The local cluster does what every cluster must."""

from __future__ import annotations

from pathlib import Path

from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.options import LocalOptions
from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite


class TestLocalCluster(ClusterSuite):
    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        return LocalCluster(experiment_dir, experiment_id, LocalOptions(cpus=4, gpus=0), clock)
