"""Which cluster an experiment runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.cluster.debug import DebugCluster
from hpctune.cluster.local import LocalCluster
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.pool import PooledCluster
from hpctune.cluster.pool_options import PoolOptions
from hpctune.cluster.slurm import SlurmCluster
from hpctune.errors import UsageError
from hpctune.ports import Clock, Cluster

NAMES = ("auto", "slurm", "local", "debug")
Options = SlurmOptions | LocalOptions | Mapping[str, Any] | None
_CONFIGS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")
_ASK_S = 10.0


def make_cluster(
    name: str, experiment_dir: Path, experiment_id: str, options: Options, clock: Clock
) -> SlurmCluster | LocalCluster | DebugCluster | PooledCluster:
    """The cluster called ``name``: one of ``auto``, ``slurm``, ``local``, ``debug``.

    ``auto`` is what ``options`` are of, else Slurm where it is installed and configured, else this machine. A mapping
    of options is read as those of the cluster chosen; ``debug`` ignores options. Options that name ``workers`` make it
    a pool of workers. Raises UsageError for unknown names,
    options of another cluster, and Slurm where there is none.
    """
    chosen = _resolve(name, options)
    cluster: SlurmCluster | LocalCluster
    match chosen:
        case "slurm":
            slurm = _slurm_options(options)
            cluster, pool = SlurmCluster(experiment_dir, experiment_id, slurm, clock), PoolOptions.of(slurm)
        case "local":
            local = _local_options(options)
            cluster, pool = LocalCluster(experiment_dir, experiment_id, local, clock), PoolOptions.of(local)
        case _:
            return DebugCluster(experiment_dir, experiment_id, None, clock)
    return cluster if pool is None else PooledCluster(cluster, experiment_dir, experiment_id, pool, clock)


def _resolve(name: str, options: Options) -> str:
    if name not in NAMES:
        raise UsageError(f"There is no cluster {name!r}. Valid are: {', '.join(NAMES)}.")
    if name == "slurm" and shutil.which("sbatch") is None:
        raise UsageError(
            "The cluster 'slurm' was asked for, but sbatch is not on PATH. Run hpctune where Slurm's commands are "
            "(a login node; often 'module load slurm' is needed), or use --cluster local."
        )
    if name != "auto":
        return name
    if isinstance(options, (SlurmOptions, LocalOptions)):
        return _resolve("slurm" if isinstance(options, SlurmOptions) else "local", options)
    return "slurm" if slurm_is_here(os.environ) else "local"


def slurm_is_here(environ: Mapping[str, str]) -> bool:
    """Whether Slurm's commands are installed and know a cluster; its controller is not asked, it may be down."""
    if shutil.which("sbatch", path=environ.get("PATH")) is None:
        return False
    if environ.get("SLURM_CONF") or environ.get("SLURM_CONF_SERVER") or any(Path(c).exists() for c in _CONFIGS):
        return True
    try:
        asked = subprocess.run(["scontrol", "--version"], capture_output=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _slurm_options(options: Options) -> SlurmOptions:
    if isinstance(options, LocalOptions):
        raise UsageError("LocalOptions were given for the cluster 'slurm'. Give SlurmOptions.")
    return options if isinstance(options, SlurmOptions) else SlurmOptions.from_mapping(options or {})


def _local_options(options: Options) -> LocalOptions:
    if isinstance(options, SlurmOptions):
        raise UsageError("SlurmOptions were given for the cluster 'local'. Give LocalOptions, or use --cluster slurm.")
    return options if isinstance(options, LocalOptions) else LocalOptions.from_mapping(options or {})


def _conforms(
    slurm: SlurmCluster, local: LocalCluster, debug: DebugCluster, pool: PooledCluster
) -> tuple[Cluster, Cluster, Cluster, Cluster]:
    """Let the type checker see that each is a Cluster."""
    return slurm, local, debug, pool
