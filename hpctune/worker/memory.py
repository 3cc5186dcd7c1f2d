"""What the kernel and Slurm say about memory that ran out in this job."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from pathlib import Path

from hpctune.storage.stderr_file import last_lines, out_of_memory

_STDERR = 2


def oom_kills() -> int:
    """How many processes the kernel killed in this control group because memory ran out; 0 if unknown."""
    try:
        events = _memory_events().read_text().split()
        return int(events[events.index("oom_kill") + 1])
    except (OSError, ValueError, IndexError):
        return 0


@functools.cache
def _memory_events() -> Path:
    """The kernel's file of memory events of our control group. If there is none, the path does not exist."""
    with contextlib.suppress(OSError, StopIteration):
        line = next(li for li in Path("/proc/self/cgroup").read_text().splitlines() if li.startswith("0::"))
        path = Path(f"/sys/fs/cgroup{line[3:]}/memory.events")
        if path.exists():
            return path
    return Path("/nonexistent")


class MemoryWatch:
    """Whether memory has run out since the watch was made, by the kernel's count or by Slurm's words in our stderr."""

    def __init__(self) -> None:
        self._kills, self._said = oom_kills(), self._stderr_size()

    def ran_out(self) -> bool:
        """The answer, as far as it is known now. Slurm may say so only when the step has ended."""
        if oom_kills() > self._kills:
            return True
        return self._stderr_size() > self._said and out_of_memory(
            last_lines(Path(f"/proc/self/fd/{_STDERR}"), self._said)
        )

    @staticmethod
    def _stderr_size() -> int:
        """The size of the file that is our stderr; 0 if it is none."""
        with contextlib.suppress(OSError):
            seen = os.fstat(_STDERR)
            return seen.st_size if stat.S_ISREG(seen.st_mode) else 0
        return 0
