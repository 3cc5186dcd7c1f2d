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

SlurmOptions(nodes=..., ntasks=..., ntasks_per_node=...) override that shape, whatever the bundles are.

All tasks of a Slurm job are equal. If bundles differ, the job is a heterogeneous one: each group of equal bundles, one
after another, is a part of it with its own request, and all parts begin together. Slurm does not say which nodes the
parts share, so with a STRICT strategy, with ``hetjob=False`` and with options that say the request of a task, all tasks
are equal, each as large as the largest bundle in each resource.
CPUs are rounded up to whole ones, memory to whole MiB.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from hpctune.cluster.options import MEMORY, SlurmOptions
from hpctune.cluster.slurm import nodelist
from hpctune.cluster.slurm.gres import gpus as gpus_in
from hpctune.cluster.slurm.units import mebibytes, memory_bytes
from hpctune.common.text import count
from hpctune.errors import NotYetSupportedError
from hpctune.model.resources import Resources

_BY_GPU = ("cpus_per_gpu", "mem_per_gpu")


@dataclass(frozen=True, slots=True)
class Placement:
    """How many tasks on how many nodes, and what each gets. ``nodes`` None: Slurm decides.

    ``gpus_per_node`` and ``gpus_per_task`` exclude each other; ``memory`` is a pair of sbatch's option and MiB. With
    ``cpus_per_gpu``, sbatch is given that, and ``cpus_per_task`` is what a task gets by it.
    """

    tasks: int
    nodes: int | None
    tasks_per_node: int | None
    cpus_per_task: int
    cpus_per_gpu: int | None = None
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
        return amount * {"mem": 1, "mem_per_cpu": self.cpus_per_node, "mem_per_gpu": self.gpus_on_one_node}[kind]

    def parameters(self) -> dict[str, object]:
        """The request as parameters of sbatch, with underscores for dashes."""
        chosen: dict[str, object] = {"cpus_per_task": self.cpus_per_task}
        if self.cpus_per_gpu is not None:
            chosen = {"cpus_per_gpu": self.cpus_per_gpu}
        if self.nodes is not None:
            chosen["nodes"] = self.nodes
        if self.tasks_per_node is not None:
            chosen["ntasks_per_node"] = self.tasks_per_node
        if self.nodes is None or self.tasks_per_node is None or self.tasks != self.nodes * self.tasks_per_node:
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


_SAME_FOR_ALL = (
    *("nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "mem_per_gpu", "gres"),
    *("gpus_per_node", "gpus_per_task", "nodelist"),
)
"""Options that say the shape of a job, or the request of each task."""


def places(resources: Resources, options: SlurmOptions) -> tuple[Placement, ...]:
    """The requests of the parts of a job, in the order of the bundles; mostly one. Raises as :func:`place` does."""
    groups = [tuple(group) for _, group in itertools.groupby(resources.bundles)]
    several = len(groups) > 1 and options.hetjob and not resources.strategy.startswith("STRICT_")
    if not several or any(getattr(options, name) is not None for name in _SAME_FOR_ALL):
        return (place(resources, options),)
    return tuple(place(replace(resources, bundles=group), options) for group in groups)


def place(resources: Resources, options: SlurmOptions) -> Placement:
    """The request to Slurm, with equal tasks.

    Raises NotYetSupportedError for fractions of GPUs, for custom resources, and for options that contradict each other
    or the trial.
    """
    _check(resources, options)
    nodes, per_node, tasks = _shape(len(resources.bundles), resources.strategy, options)
    gpus = max(math.ceil(b.gpus) for b in resources.bundles)
    of_node = of_task = 0
    if options.gpus_per_node is not None:
        of_node = options.gpus_per_node
    elif options.gpus_per_task is not None:
        of_task = options.gpus_per_task
    elif nodes is not None and per_node is not None:
        of_node = gpus * per_node
    else:
        of_task = gpus
    if options.gres:
        of_node = of_task = 0
    gpus_of_node = of_node or of_task * (per_node or 1) or gpus_in(options.gres or "")[""]
    if not gpus_of_node and (option := next((n for n in _BY_GPU if getattr(options, n) is not None), None)):
        raise NotYetSupportedError(
            f"{option}={getattr(options, option)} needs GPUs, and the trial asks for none. Ask for them with "
            f"resources_per_trial={{'gpu': 1}} (or tune.with_resources), or with SlurmOptions(gres=...)."
        )
    cpus = options.cpus_per_task or max(1, *(math.ceil(b.cpus) for b in resources.bundles))
    if options.cpus_per_gpu is not None:
        cpus = max(1, options.cpus_per_gpu * gpus_of_node // (per_node or 1))
    return Placement(
        tasks=tasks,
        nodes=nodes,
        tasks_per_node=per_node,
        cpus_per_task=cpus,
        cpus_per_gpu=options.cpus_per_gpu,
        gpus_per_node=of_node,
        gpus_per_task=of_task,
        gpu_type=options.gpu_type,
        gres=options.gres,
        memory=_memory(resources, options, cpus, tasks),
    )


def _shape(count: int, strategy: str, options: SlurmOptions) -> tuple[int | None, int | None, int]:
    """Nodes, tasks per node (None: Slurm decides), and tasks in all."""
    nodes, per_node = options.nodes, options.ntasks_per_node
    if options.ntasks is not None:
        if nodes is not None and per_node is None and options.ntasks % nodes == 0:
            per_node = options.ntasks // nodes
        if options.ntasks == 1 and nodes is None:
            nodes = per_node = 1
        return nodes, per_node, options.ntasks
    if nodes is not None or per_node is not None or count == 1:
        return nodes or 1, per_node or 1, (nodes or 1) * (per_node or 1)
    if strategy == "STRICT_PACK":
        return 1, count, count
    if strategy in ("SPREAD", "STRICT_SPREAD"):
        return count, 1, count
    return None, None, count


def _memory(resources: Resources, options: SlurmOptions, cpus: int, tasks: int) -> tuple[str, int] | None:
    stated = [b.memory_bytes for b in resources.bundles if b.memory_bytes]
    if stated:
        mib = mebibytes(max(stated))
        return ("mem", mib) if tasks == 1 else ("mem_per_cpu", -(-mib // cpus))
    name = next((name for name in MEMORY if getattr(options, name) is not None), None)
    return None if name is None else (name, mebibytes(memory_bytes(getattr(options, name), name)))


def _check(resources: Resources, options: SlurmOptions) -> None:
    custom = sorted({name for b in resources.bundles for name in b.custom})
    if custom:
        raise NotYetSupportedError(
            f"Resource {custom[0]!r} is not known to Slurm. Remove it from resources_per_trial, and ask for it with "
            f"SlurmOptions(gres=...), (licenses=...) or (constraint=...)."
        )
    if options.ntasks is not None and options.nodes is not None and options.ntasks < options.nodes:
        raise NotYetSupportedError(
            f"ntasks={options.ntasks} is less than nodes={options.nodes}: a node without a task is of no use."
        )
    if options.nodelist is not None and (named := nodelist.count(options.nodelist)) is not None:
        _check_nodelist(options, named, _shape(len(resources.bundles), resources.strategy, options))
    if any(value is not None for value in (options.gres, options.gpus_per_node, options.gpus_per_task)):
        return
    part = next((b.gpus for b in resources.bundles if b.gpus != int(b.gpus)), None)
    if part is not None:
        raise NotYetSupportedError(
            f"A trial asks for {part:g} GPU. Slurm shares GPUs only if the site has set that up: give "
            f"SlurmOptions(gres='shard:1') or gres='mps:50' as the site documents it, or ask for whole GPUs, or let "
            f"trials share a GPU in long-lived workers: SlurmOptions(workers=N)."
        )


def _check_nodelist(options: SlurmOptions, named: int, shape: tuple[int | None, int | None, int]) -> None:
    """A job gets *all* nodes of its list, and others in addition if it needs more."""
    nodes, per_node, tasks = shape
    most = nodes if nodes is not None else tasks if per_node is None else -(-tasks // per_node)
    if named > most:
        raise NotYetSupportedError(
            f"nodelist={options.nodelist!r} names {named} nodes. In Slurm a job gets all nodes of its list, but a "
            f"trial here is on {count(most, 'node')}. To keep trials to these nodes, exclude the others: "
            f"SlurmOptions(exclude=...). For trials that use all of them: SlurmOptions(nodes={named})."
        )
