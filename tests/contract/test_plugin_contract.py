"""A cluster as a user of the library writes one, held against the suite that is there for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite


class TestShellCluster(ClusterSuite):
    """The cluster of the example in ``tests/plugin``."""

    @pytest.fixture(autouse=True)
    def importable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "plugin"))

    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        from hpctune_example.cluster import ShellCluster

        assert "hpctune_example" in sys.modules
        return ShellCluster(experiment_dir, experiment_id, clock)
