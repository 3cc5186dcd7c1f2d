"""Which processes of this machine belong to a cluster, read from /proc.

Pid files are not enough: job processes have none, and a stale one may name a stranger.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .layout import Layout

# Every daemon and the watcher carry it in their environment, and slurmstepd inherits it from slurmd.
MARKER = "SLURM_CLUSTER_ROOT"


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    command: str
    environ: frozenset[str]

    @property
    def is_job(self) -> bool:
        return any(entry.startswith("SLURM_JOB_ID=") for entry in self.environ)


def is_alive(pid: int) -> bool:
    return birth(pid) is not None


def birth(pid: int) -> int | None:
    """When the process started, in ticks since boot: with it, a number that was given again is told apart.

    None if it is gone, or a zombie: one that only waits for its parent to notice does nothing any more.
    """
    try:
        fields = _stat_fields(pid)
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def is_ours(pid: int, layout: Layout) -> bool:
    """Alive and of this cluster: the number alone may have gone to another process since."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return is_alive(pid) and os.fsencode(f"{MARKER}={layout.root}") in environ.split(b"\0")


def belonging_to(layout: Layout) -> list[Process]:
    """The daemons, the slurmstepds, the jobs' processes and everything below them; never the caller or its parents."""
    everything = {process.pid: process for process in _all()}
    spared = _self_and_ancestors(everything)
    found = {pid for pid, process in everything.items() if _carries_mark(process, layout)}
    below = _descendants(everything, found)
    return [everything[pid] for pid in sorted((found | below) - spared)]


def kill_all(layout: Layout, patience_s: float = 10.0) -> list[Process]:
    """SIGKILL until nothing is left, since a dying slurmd may start one more process. Returns what would not die."""
    deadline = time.monotonic() + patience_s
    while (left := belonging_to(layout)) and time.monotonic() < deadline:
        signal_each((process.pid for process in left), signal.SIGKILL)
        time.sleep(0.02)
    return left


def signal_each(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _carries_mark(process: Process, layout: Layout) -> bool:
    if f"{MARKER}={layout.root}" in process.environ:
        return True
    # A shell where the user set SLURM_CONF, and what runs in it, is no part of the cluster; a job is.
    return process.is_job and f"SLURM_CONF={layout.conf}" in process.environ


def _all() -> Iterable[Process]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 -- a thousand Path objects would only cost time
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:  # PermissionError: another user's, so not ours; FileNotFoundError and ProcessLookupError: it ended
            state, parent, *_ = _stat_fields(pid)
            if state == "Z":
                continue
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        yield Process(
            pid=pid,
            parent=int(parent),
            command=os.fsdecode(command.replace(b"\0", b" ").strip()),
            environ=frozenset(os.fsdecode(environ).split("\0")),
        )


def _stat_fields(pid: int) -> list[str]:
    """State, parent and so on. The command's name before them may contain anything, even ')'."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


def _self_and_ancestors(everything: dict[int, Process]) -> set[int]:
    result, pid = {os.getpid()}, os.getppid()
    while pid > 1 and pid not in result:
        result.add(pid)
        pid = everything[pid].parent if pid in everything else 0
    return result


def _descendants(everything: dict[int, Process], roots: set[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in everything.values():
        children.setdefault(process.parent, []).append(process.pid)
    result: set[int] = set()
    pending = list(roots)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in result:
                result.add(child)
                pending.append(child)
    return result
