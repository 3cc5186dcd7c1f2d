"""Refines the end of a job from its stderr, if its run could not record the reason."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from hpctune.model import events as e
from hpctune.model.jobs import JobState

_TAIL_BYTES = 4096
_WORDS = 300
_OUT_OF_MEMORY = ("exceeded memory limit", "exceeded job memory limit", "oom_kill", "oom-kill", "out of memory")
"""Messages of slurmstepd. At sites without cgroups such a job ends as FAILED."""


def refine_job_end(event: e.JobEnded, stderr: Path) -> e.JobEnded:
    """``event`` with the last line of stderr if the job failed; as OUT_OF_MEMORY if stderr says that."""
    if event.state is not JobState.FAILED:
        return event
    lines = _tail(stderr)
    slurm = [line for line in lines if line.startswith(("slurmstepd", "srun: error"))]
    if any(word in line.lower() for line in slurm for word in _OUT_OF_MEMORY):
        return replace(event, state=JobState.OUT_OF_MEMORY, reason=_with(event.reason, "exceeded its memory limit"))
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
