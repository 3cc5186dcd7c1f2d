"""What a job with a trial's resources holds, before the cluster has told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.gres import gpus
from hpctune.cluster.slurm.placement import Placement, place
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.model.resources import Resources
from hpctune.model.usage import Amounts


def amounts_of(resources: Resources, cluster: str, options: Mapping[str, Any]) -> Amounts:
    """The CPUs, GPUs and nodes of a job. ``cluster`` and ``options``: as in the experiment's definition.

    On Slurm the CPUs are those of the request (``cpus_per_task`` times the tasks); a site may allocate more, such as
    whole nodes. Elsewhere they are those of the trial.
    """
    if cluster == "slurm":
        try:
            placement = place(resources, SlurmOptions.from_mapping(dict(options)))
        except (NotYetSupportedError, UsageError):
            pass  # a cluster object of the user's own, or options of another version
        else:
            return Amounts(placement.tasks * placement.cpus_per_task, _gpus(placement), placement.nodes or 1)
    return Amounts(resources.cpus, resources.gpus, 1)


def memory_mib(resources: Resources, cluster: str, options: Mapping[str, Any]) -> float:
    """The memory that a job asks for, on all of its nodes together; 0: none is stated."""
    if cluster != "slurm":
        return (resources.memory_bytes or 0) / 2**20
    try:
        placement = place(resources, SlurmOptions.from_mapping(dict(options)))
    except (NotYetSupportedError, UsageError):
        return (resources.memory_bytes or 0) / 2**20
    if placement.memory is None:
        return 0.0
    kind, amount = placement.memory
    of = {"mem": placement.nodes or 1, "mem_per_cpu": placement.tasks * placement.cpus_per_task}
    return float(amount * of.get(kind, _gpus(placement)))


def _gpus(placement: Placement) -> float:
    if placement.gres is not None:
        return gpus(placement.gres)[""] * (placement.nodes or 1)
    return placement.gpus_per_node * (placement.nodes or 1) + placement.gpus_per_task * placement.tasks
