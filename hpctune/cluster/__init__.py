"""The clusters that run jobs: Slurm (through submitit), this machine, other machines by ssh, or this process.

``choice.resolve_cluster`` picks one. submitit is imported only when the first job is submitted or shown.
``PooledCluster`` adds long-lived workers to a cluster of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.cluster.options import LocalOptions as LocalOptions, SlurmOptions as SlurmOptions
    from hpctune.cluster.pool.cluster import PooledCluster as PooledCluster
    from hpctune.cluster.pool.options import PoolOptions as PoolOptions
    from hpctune.cluster.ssh.options import SshOptions as SshOptions, Workstation as Workstation

_HOMES = {
    "options": ("LocalOptions", "SlurmOptions"),
    "pool.cluster": ("PooledCluster",),
    "pool.options": ("PoolOptions",),
    "ssh.options": ("SshOptions", "Workstation"),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
