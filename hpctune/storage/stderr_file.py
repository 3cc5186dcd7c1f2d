"""What a job's stderr says at its end, and which of it are Slurm's own words."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

_TAIL_BYTES = 4096
_FROM_SLURM = re.compile(
    r"slurmstepd|srun: error|\[\d{4}-\d\d-\d\dT[\d:.]+\] (error|fatal): .*\b(StepId|JobId|Step|Job)[= ]\d"
)
"""Lines of Slurm. From version 26 on they may begin with a time stamp instead of the program's name."""
_OUT_OF_MEMORY = ("exceeded memory limit", "exceeded job memory limit", "oom_kill", "oom-kill", "out of memory")
"""Messages of slurmstepd. At sites without cgroups such a job ends as FAILED."""


def last_lines(path: Path, since: int = 0) -> list[str]:
    """The last lines that are not empty, of those from byte ``since`` on; none if the file cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(since, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines() if line.strip()]


def of_slurm(lines: Sequence[str]) -> list[str]:
    """Those lines that Slurm wrote."""
    return [line for line in lines if _FROM_SLURM.match(line)]


def out_of_memory(lines: Sequence[str]) -> bool:
    """Whether Slurm says in these lines that the memory was not enough."""
    return any(word in line.lower() for line in of_slurm(lines) for word in _OUT_OF_MEMORY)
