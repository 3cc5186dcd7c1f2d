"""Facts about this machine: its CPUs and GPUs, and which of its processes live."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctune.common import processes

_PROC = Path("/proc")
_ASK_GPUS = ("--query-gpu=index", "--format=csv,noheader")
_ASK_GPUS_S = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """The scope in which a process id is unique: one boot of one machine, one pid namespace."""

    host: str
    boot: str
    namespace: str

    @classmethod
    def here(cls) -> Place:
        return cls(socket.gethostname(), _read(_PROC / "sys/kernel/random/boot_id"), _link(_PROC / "self/ns/pid"))


def cpu_count() -> int:
    """CPUs that this process may use, by its affinity and its control group's quota (rounded down, at least 1)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    words = _read(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return max(1, min(affinity, int(words[0]) // int(words[1])))
    return affinity


def gpu_ids(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Ids of the GPUs that this process may use: CUDA_VISIBLE_DEVICES if it is set, else the list of nvidia-smi."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(v.strip() for v in visible.split(",") if v.strip() not in ("", "-1", "NoDevFiles"))
    program = shutil.which("nvidia-smi", path=environ.get("PATH"))
    if program is None:
        return ()
    try:
        asked = subprocess.run([program, *_ASK_GPUS], capture_output=True, text=True, timeout=_ASK_GPUS_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = [line.strip() for line in asked.stdout.splitlines()]
    return tuple(line for line in lines if line.isdigit()) if asked.returncode == 0 else ()


def start_time(pid: int) -> str | None:
    """When process ``pid`` started, in the kernel's ticks.

    None if it has ended (a zombie has ended). "" if it lives but there is no /proc.
    """
    if not (_PROC / "self/stat").exists():
        return "" if processes.exists(pid) else None
    fields = _fields(str(pid))
    return None if not fields or fields[0] in "ZXx" else fields[19]


def session_lives(session: int) -> bool:
    """Whether any process of ``session`` lives, the leader or another."""
    try:
        names = [entry.name for entry in os.scandir(_PROC) if entry.name.isdigit()]
    except OSError:
        return processes.exists(session)
    found = (_fields(name) for name in names)
    return any(f and f[3] == str(session) and f[0] not in "ZXx" for f in found)


def _fields(pid: str) -> list[str]:
    """/proc/PID/stat from the third field (the state) on."""
    return _read(_PROC / pid / "stat").rpartition(")")[2].split()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
