"""Refines the end of a job from its stderr, if its run could not record the reason."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.storage.stderr_file import last_lines, of_slurm, out_of_memory

_WORDS = 400
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
_SLURMS_REASON = "NonZeroExitCode"
_UNSEEN = (
    "its output was not even created: perhaps its node does not see {}. Choose another --storage-path, leave the node "
    "out with --exclude, or see docs/how-to/file-transfer.md"
)
"""Slurm opens the output before a job begins, and the job fails if it cannot."""


def refine_job_end(event: e.JobEnded, stderr: Path) -> e.JobEnded:
    """``event`` with the last line of stderr if the job failed; as OUT_OF_MEMORY if stderr says that."""
    if event.state not in (JobState.FAILED, JobState.CANCELLED):
        return event
    if event.reason == _SLURMS_REASON and not stderr.exists():
        return replace(event, reason=_with(event.reason, _UNSEEN.format(stderr.parent)))
    lines = last_lines(stderr)
    slurm = of_slurm(lines)
    if out_of_memory(lines):
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
