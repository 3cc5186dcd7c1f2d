"""Refines the end of a job from its stderr, if its run could not record the reason."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from hpctune.model import events as e
from hpctune.model.jobs import JobState

_TAIL_BYTES = 4096
_WORDS = 400
_FROM_SLURM = re.compile(
    r"slurmstepd|srun: error|\[\d{4}-\d\d-\d\dT[\d:.]+\] (error|fatal): .*\b(StepId|JobId|Step|Job)[= ]\d"
)
"""Lines of Slurm. From version 26 on they may begin with a time stamp instead of the program's name."""
_PYTHON = r"\S*python[\d.]*"
_HINTS = {
    re.compile(r"No module named '?hpctune\b"): (
        "hpctune is not installed for the job's Python: install it there (in a container: in its image), "
        "or set SlurmOptions(python=...)"
    ),
    re.compile(
        rf"{_PYTHON}: ((command )?not found|No such file)|(exec|execve)\b.*{_PYTHON}.*(not found|No such file)"
    ): (
        "the job's Python does not exist on that node (or in the image): set SlurmOptions(python=...), "
        "SlurmOptions(modules=[...]) or a virtual environment on the shared filesystem"
    ),
    re.compile(r"libpython\S*: cannot open shared object"): (
        "the job's Python needs its libpython in the image: use the image's own Python, SlurmOptions(python='python3')"
    ),
}
"""What a job says that could not begin, and what helps."""
_OUT_OF_MEMORY = ("exceeded memory limit", "exceeded job memory limit", "oom_kill", "oom-kill", "out of memory")
"""Messages of slurmstepd. At sites without cgroups such a job ends as FAILED."""


def refine_job_end(event: e.JobEnded, stderr: Path) -> e.JobEnded:
    """``event`` with the last line of stderr if the job failed; as OUT_OF_MEMORY if stderr says that."""
    if event.state not in (JobState.FAILED, JobState.CANCELLED):
        return event
    lines = _tail(stderr)
    slurm = [line for line in lines if _FROM_SLURM.match(line)]
    if any(word in line.lower() for line in slurm for word in _OUT_OF_MEMORY):
        return replace(event, state=JobState.OUT_OF_MEMORY, reason=_with(event.reason, "exceeded its memory limit"))
    if event.state is JobState.CANCELLED:
        return event
    for line in reversed(lines):
        for pattern, hint in _HINTS.items():
            if pattern.search(line):
                return replace(event, reason=_with(event.reason, f"stderr says: {line[:_WORDS]}; {hint}"))
    telling = [line for line in slurm if "Exited with exit code" not in line]
    last = (telling or [line for line in lines if line not in slurm] or slurm)[-1:]
    return replace(event, reason=_with(event.reason, f"last line of stderr: {last[0][:_WORDS]}")) if last else event


def _with(reason: str, more: str) -> str:
    return f"{reason}, {more}" if reason else more


def _tail(path: Path) -> list[str]:
    """The last lines that are not empty; none if the file does not exist."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return ["".join(c for c in line if c.isprintable()).strip() for line in text.splitlines() if line.strip()]
