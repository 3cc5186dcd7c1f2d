"""Parses the answer of ``sacct`` about an ended job: how much it used of what it had asked for."""

from __future__ import annotations

from hpctune.cluster.slurm.units import memory_bytes
from hpctune.errors import UsageError

ARGUMENTS = ("--noheader", "--parsable2", "--units=M", "--format=JobID,MaxRSS,ReqMem,Elapsed,Timelimit")


def words(answer: str) -> str:
    """A short summary of the answer to :data:`ARGUMENTS`, which has one line for the job and one for each step.

    Only the lines of steps have the memory used; only the job's line has the time limit. "" if nothing is known.
    """
    lines = [line.split("|") for line in answer.splitlines() if line.count("|") == 4]
    if not lines:
        return ""
    _, _, asked, elapsed, limit = lines[0]
    peak = max((size for line in lines if (size := _bytes(line[1])) is not None), default=None)
    parts = []
    if peak:
        of = _bytes(asked)
        parts.append(f"used up to {_mib(peak)}" + (f" of {_mib(of)}" if of else "") + " of memory")
    if elapsed:
        parts.append(f"ran for {elapsed}" + (f" of {limit}" if limit else ""))
    return ", ".join(parts)


def _bytes(text: str) -> int | None:
    number = text.rstrip("cn")  # older versions append c or n: per CPU or per node
    try:
        return memory_bytes(number, "memory") if number else None
    except UsageError:
        return None


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
