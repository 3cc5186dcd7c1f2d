"""Turns a trial's resources into one Slurm request. Pure.

========================  ===========================================================================
a trial asks for          its job gets
========================  ===========================================================================
one bundle                one task on one node
several, ``PACK``         that many tasks, anywhere
several, ``STRICT_PACK``  that many tasks on one node
several, ``SPREAD`` or    that many nodes with one task each
``STRICT_SPREAD``
========================  ===========================================================================

All tasks of a Slurm job are equal. If bundles differ, each becomes as large as the largest in each resource.
CPUs are rounded up to whole ones, memory to whole MiB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.units import mebibytes, memory_bytes
from hpctune.errors import NotYetSupportedError
from hpctune.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Placement:
    """How many tasks on how many nodes, and what each gets. ``nodes`` None: Slurm decides.

    ``gpus_per_node`` and ``gpus_per_task`` exclude each other; ``memory`` is a pair of sbatch's option and MiB.
    """

    tasks: int
    nodes: int | None
    tasks_per_node: int | None
    cpus_per_task: int
    gpus_per_node: int = 0
    gpus_per_task: int = 0
    gpu_type: str | None = None
    gres: str | None = None
    memory: tuple[str, int] | None = None

    @property
    def cpus_per_node(self) -> int:
        """CPUs that one node must have to run this."""
        return self.cpus_per_task * (self.tasks_per_node or 1)

    @property
    def gpus_on_one_node(self) -> int:
        """GPUs that one node must have to run this."""
        return max(self.gpus_per_node, self.gpus_per_task)

    @property
    def memory_per_node_mib(self) -> int:
        """MiB that one node must have to run this; 0 if no memory was asked for."""
        if self.memory is None:
            return 0
        kind, amount = self.memory
        return amount if kind == "mem" else amount * self.cpus_per_node

    def parameters(self) -> dict[str, object]:
        """The request as parameters of sbatch, with underscores for dashes."""
        chosen: dict[str, object] = {"cpus_per_task": self.cpus_per_task}
        if self.nodes is not None:
            chosen["nodes"] = self.nodes
            chosen["ntasks_per_node"] = self.tasks_per_node
        else:
            chosen["ntasks"] = self.tasks
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        if self.gres is not None:
            chosen["gres"] = self.gres
        elif self.gpus_per_node:
            chosen["gres"] = f"gpu:{kind}{self.gpus_per_node}"
        elif self.gpus_per_task:
            chosen["gpus_per_task"] = f"{kind}{self.gpus_per_task}"
        if self.memory is not None:
            chosen[self.memory[0]] = f"{self.memory[1]}M"
        return chosen


def place(resources: Resources, options: SlurmOptions) -> Placement:
    """The request to Slurm. Raises NotYetSupportedError for fractions of GPUs and for custom resources."""
    _check(resources, options)
    count = len(resources.bundles)
    cpus = options.cpus_per_task or max(1, *(math.ceil(b.cpus) for b in resources.bundles))
    nodes, per_node = _shape(count, resources.strategy, options)
    tasks = count if nodes is None else nodes * (per_node or 1)
    gpus = max(math.ceil(b.gpus) for b in resources.bundles)
    if options.gpus_per_node is not None:
        of_node, of_task = options.gpus_per_node, 0
    elif nodes is not None:
        of_node, of_task = gpus * (per_node or 1), 0
    else:
        of_node, of_task = 0, gpus
    return Placement(
        tasks=tasks,
        nodes=nodes,
        tasks_per_node=per_node,
        cpus_per_task=cpus,
        gpus_per_node=0 if options.gres else of_node,
        gpus_per_task=0 if options.gres else of_task,
        gpu_type=options.gpu_type,
        gres=options.gres,
        memory=_memory(resources, options, cpus, tasks),
    )


def _shape(count: int, strategy: str, options: SlurmOptions) -> tuple[int | None, int | None]:
    if options.nodes is not None or options.ntasks_per_node is not None or count == 1:
        return options.nodes or 1, options.ntasks_per_node or 1
    if strategy == "STRICT_PACK":
        return 1, count
    if strategy in ("SPREAD", "STRICT_SPREAD"):
        return count, 1
    return None, None


def _memory(resources: Resources, options: SlurmOptions, cpus: int, tasks: int) -> tuple[str, int] | None:
    stated = [b.memory_bytes for b in resources.bundles if b.memory_bytes]
    if stated:
        mib = mebibytes(max(stated))
        return ("mem", mib) if tasks == 1 else ("mem_per_cpu", -(-mib // cpus))
    if options.mem is not None:
        return "mem", mebibytes(memory_bytes(options.mem))
    if options.mem_per_cpu is not None:
        return "mem_per_cpu", mebibytes(memory_bytes(options.mem_per_cpu, "mem_per_cpu"))
    return None


def _check(resources: Resources, options: SlurmOptions) -> None:
    custom = sorted({name for b in resources.bundles for name in b.custom})
    if custom:
        raise NotYetSupportedError(
            f"Resource {custom[0]!r} is not known to Slurm. Remove it from resources_per_trial, and ask for it with "
            f"SlurmOptions(gres=...), (licenses=...) or (constraint=...)."
        )
    if options.gres is not None or options.gpus_per_node is not None:
        return
    part = next((b.gpus for b in resources.bundles if b.gpus != int(b.gpus)), None)
    if part is not None:
        raise NotYetSupportedError(
            f"A trial asks for {part:g} GPU. Slurm shares GPUs only if the site has set that up: give "
            f"SlurmOptions(gres='shard:1') or gres='mps:50' as the site documents it, or ask for whole GPUs, or let "
            f"trials share a GPU in long-lived workers: SlurmOptions(workers=N)."
        )
