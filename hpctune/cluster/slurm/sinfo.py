"""The nodes and partitions of the cluster, from one sinfo call, and whether a request fits. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpctune.cluster.slurm.gres import gpus
from hpctune.cluster.slurm.placement import Placement
from hpctune.cluster.slurm.units import minutes, slurm_time
from hpctune.common.text import count
from hpctune.errors import RequestRejectedError, UsageError

_FIELD = "\x1f"
ARGUMENTS = (
    "--all",
    "--noheader",
    "--exact",
    f"--format={_FIELD.join(('%P', '%a', '%l', '%D', '%c', '%m', '%G', '%T', '%L', '%s'))}",
)
_OUT = ("DOWN", "DRAIN", "FAIL", "MAINT", "POWER", "REBOOT", "UNK", "RESERVED", "NO_RESPOND")


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """A group of equal nodes of one partition.

    ``limit_minutes`` and ``max_nodes`` (of a job) None: no limit. ``default_minutes``: the time limit of a job that
    states none; None: ``limit_minutes``. ``gpus``: by type, "" for all. ``up``: whether the partition starts jobs.
    """

    partition: str
    default: bool
    limit_minutes: int | None
    nodes: int
    cpus: int
    memory_mib: int
    gpus: dict[str, int]
    usable: bool
    default_minutes: int | None = None
    max_nodes: int | None = None
    up: bool = True


def parse(text: str) -> list[NodeGroup]:
    """The groups in sinfo's answer. Lines that cannot be parsed are left out."""
    return [group for line in text.splitlines() if (group := _group(line.split(_FIELD))) is not None]


def names(groups: Iterable[NodeGroup]) -> list[str]:
    """The names of the partitions. The default one has a star, as in sinfo."""
    return list(dict.fromkeys(f"{g.partition}{'*' if g.default else ''}" for g in groups))


def check(groups: Sequence[NodeGroup], placement: Placement, partition: str | None, limit: int | None) -> bool:
    """Whether nodes that fit are usable now. False if all are down or drained, or if nothing is known.

    ``partition``: as given to sbatch, perhaps several with commas. Nothing is known of a partition that sinfo does not
    show. ``limit``: the time limit in minutes. Raises RequestRejectedError if none of these nodes could ever run
    ``placement``.
    """
    if not groups:
        return False
    chosen = _chosen(groups, partition)
    if not chosen:
        return False
    where = "partition " + " or ".join(repr(n) for n in dict.fromkeys(g.partition for g in chosen))
    in_time = [g for g in chosen if _in_time(g, limit)]
    if not in_time and limit is not None:
        longest = max(g.limit_minutes or 0 for g in chosen)
        raise RequestRejectedError(
            f"A time limit of {slurm_time(limit)} is more than {where} allows, which is {slurm_time(longest)}. "
            f"Lower SlurmOptions(time=...), or choose another partition."
        )
    fitting = [g for g in in_time if _misfit(g, placement) is None]
    if not fitting:
        raise RequestRejectedError(_why(in_time, placement, where))
    return any(g.usable for g in fitting)


def longest_minutes(groups: Sequence[NodeGroup], partition: str | None) -> int | None:
    """The longest time limit in minutes that the partition allows; None if it has none, or if nothing is known."""
    limits = [g.limit_minutes for g in _chosen(groups, partition)]
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None


def differences(groups: Sequence[NodeGroup], placement: Placement, partition: str | None, limit: float | None) -> str:
    """Which of several partitions could not run a job that the others could, and why. "" if there is no such one.

    A site with ``EnforcePartLimits=ALL`` refuses a job that one of its partitions could never run. ``limit``: minutes,
    infinite for a job without a time limit. None: the job states none, and gets the default of the first partition.
    """
    chosen = _chosen(groups, partition)
    named = [name.strip() for name in (partition or "").split(",")]
    if len(named) < 2 or not chosen:
        return ""
    first = next(g for g in chosen if g.partition == named[0])
    asked = limit if limit is not None else first.default_minutes or first.limit_minutes or math.inf
    source = "" if limit is not None else f", the default of {first.partition}"
    reasons = []
    for name in dict.fromkeys(named):
        of_name = [g for g in chosen if g.partition == name]
        one = of_name[0]
        if not _in_time(one, asked):
            wanted = "an infinite time" if math.isinf(asked) else f"a time limit of {slurm_time(int(asked))}"
            reasons.append(f"{name} allows {slurm_time(one.limit_minutes or 0)}, not {wanted}{source}")
        elif one.max_nodes is not None and (placement.nodes or 1) > one.max_nodes:
            reasons.append(f"{name} allows {count(one.max_nodes, 'node')} for a job, not {placement.nodes}")
        elif all(_misfit(g, placement) is not None for g in of_name):
            reasons.append(f"{name} has no node with {_misfit(one, placement)}")
    return "; ".join(reasons)


def all_up(groups: Sequence[NodeGroup], partition: str | None) -> bool:
    """Whether the partitions are known and all of them start jobs."""
    chosen = _chosen(groups, partition)
    return bool(chosen) and all(g.up for g in chosen)


def _in_time(group: NodeGroup, limit: float | None) -> bool:
    return limit is None or group.limit_minutes is None or limit <= group.limit_minutes


def _chosen(groups: Sequence[NodeGroup], partition: str | None) -> list[NodeGroup]:
    if partition is None:
        return [g for g in groups if g.default]
    wanted = {p.strip() for p in partition.split(",")}
    if not wanted <= {g.partition for g in groups}:
        return []
    return [g for g in groups if g.partition in wanted]


def _misfit(group: NodeGroup, placement: Placement) -> str | None:
    if placement.cpus_per_node > group.cpus:
        return f"{placement.cpus_per_node} CPUs on one node, at most {group.cpus} there"
    if placement.gpus_on_one_node > group.gpus.get(placement.gpu_type or "", 0):
        kind = f"{placement.gpu_type} GPUs" if placement.gpu_type else "GPUs"
        have = group.gpus.get(placement.gpu_type or "", 0)
        return f"{placement.gpus_on_one_node} {kind} on one node, at most {have} there"
    if placement.memory_per_node_mib > group.memory_mib > 0:
        return f"{placement.memory_per_node_mib} MiB on one node, at most {group.memory_mib} there"
    return None


def _why(groups: Sequence[NodeGroup], placement: Placement, where: str) -> str:
    reasons = dict.fromkeys(r for g in groups if (r := _misfit(g, placement)) is not None)
    return (
        f"No node of {where} can run this: {'; or '.join(reasons)}. Ask for less, or choose another partition "
        f"(see: sinfo -o '%P %c %m %G %l')."
    )


def _group(parts: Sequence[str]) -> NodeGroup | None:
    if len(parts) != 10:
        return None
    name, available, limit, number, cpus, memory, gres, state, default, size = (p.strip() for p in parts)
    largest = size.rpartition("-")[2]
    try:
        return NodeGroup(
            partition=name.rstrip("*"),
            default=name.endswith("*"),
            limit_minutes=_minutes(limit),
            nodes=int(number),
            cpus=int(cpus.rstrip("+")),
            memory_mib=int(memory.rstrip("+")),
            gpus=gpus(gres),
            usable=not any(word in state.upper() for word in _OUT) and not state.endswith("*"),
            default_minutes=_minutes(default),
            max_nodes=int(largest) if largest.isdigit() else None,
            up=available.lower() == "up",
        )
    except (ValueError, UsageError):
        return None


def _minutes(text: str) -> int | None:
    return None if text.lower() in ("infinite", "unlimited", "n/a", "none", "") else minutes(text)
