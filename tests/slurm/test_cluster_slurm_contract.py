"""The Slurm cluster does, on real Slurm, what every cluster must."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite


@pytest.mark.usefixtures("slurm_cluster")
class TestSlurmCluster(ClusterSuite):
    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        options = SlurmOptions(time=10, mem="100M", comment=f"{experiment_id} it's", calls_per_minute=None)
        return SlurmCluster(experiment_dir, experiment_id, options, clock)
