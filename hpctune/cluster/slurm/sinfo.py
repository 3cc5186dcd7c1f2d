"""The nodes and partitions of the cluster, from one sinfo call, and whether a request fits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpctune.cluster.slurm.placement import Placement
from hpctune.cluster.slurm.units import minutes, slurm_time
from hpctune.errors import RequestRejectedError, UsageError

_FIELD = "\x1f"
ARGUMENTS = (
    "--all",
    "--noheader",
    "--exact",
    f"--format={_FIELD.join(('%P', '%a', '%l', '%D', '%c', '%m', '%G', '%T'))}",
)
_OUT = ("DOWN", "DRAIN", "FAIL", "MAINT", "POWER", "REBOOT", "UNK", "RESERVED", "NO_RESPOND")


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """A group of equal nodes of one partition. ``limit_minutes`` None: no limit. ``gpus``: by type, "" for all."""

    partition: str
    default: bool
    limit_minutes: int | None
    nodes: int
    cpus: int
    memory_mib: int
    gpus: dict[str, int]
    usable: bool


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
    in_time = [g for g in chosen if limit is None or g.limit_minutes is None or limit <= g.limit_minutes]
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
    if len(parts) != 8:
        return None
    name, _, limit, count, cpus, memory, gres, state = (p.strip() for p in parts)
    try:
        minutes_allowed = None if limit.lower() in ("infinite", "unlimited", "n/a") else minutes(limit)
        return NodeGroup(
            partition=name.rstrip("*"),
            default=name.endswith("*"),
            limit_minutes=minutes_allowed,
            nodes=int(count),
            cpus=int(cpus.rstrip("+")),
            memory_mib=int(memory.rstrip("+")),
            gpus=gpus(gres),
            usable=not any(word in state.upper() for word in _OUT) and not state.endswith("*"),
        )
    except (ValueError, UsageError):
        return None


def gpus(gres: str) -> dict[str, int]:
    """The numbers of GPUs by type in text such as ``gpu:a100:4(S:0-1),shard:8``; their sum is under ``""``."""
    found: dict[str, int] = {"": 0}
    for part in re.split(r",(?![^()]*\))", gres):
        words = re.sub(r"\(.*", "", part.strip()).split(":")
        if words[0] != "gpu":
            continue
        count = int(words[-1]) if words[-1].isdigit() else 1
        kind = words[1] if len(words) > 2 or (len(words) == 2 and not words[1].isdigit()) else None
        found[""] += count
        if kind is not None:
            found[kind] = found.get(kind, 0) + count
    return found
