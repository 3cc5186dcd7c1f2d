"""Trials on machines that are reached by a real sshd, each with a home of its own and no directory in common."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpctune.cluster.ssh.cluster import SshCluster
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite
from tests.support.ssh_lab import NAME, Laptop


class TestSshCluster(ClusterSuite):
    """It does what every cluster must."""

    @pytest.fixture(autouse=True)
    def at_the_laptop(self, laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(laptop.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        machine = Workstation(host=NAME, cpus=4, gpus=0, python=sys.executable)
        made = SshCluster(experiment_dir, experiment_id, SshOptions(hosts=[machine], kill_wait_s=5.0), clock)
        made.jobs()  # it connects
        return made
