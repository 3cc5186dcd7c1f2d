"""Starting one daemon in the foreground of its own session, and waiting until it really answers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .layout import Layout
from .options import ClusterError, SlurmMissing

START_TIMEOUT_S = 30.0
# Debian keeps the daemons here, and a user's PATH often lacks it.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_APT = "apt-get install --no-install-recommends slurm-wlm munge"
_APT_ACCOUNTING = "slurmdbd mariadb-server mariadb-client"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "sinfo", "squeue", "scancel", "sbatch", "srun")
_PROGRAMS_ACCOUNTING = ("mariadbd", "mariadb-install-db", "slurmdbd", "sacctmgr")


class PortTaken(ClusterError):
    """Somebody else bound a port between our look and the daemon's bind: worth another attempt with other ports."""


@dataclass(frozen=True)
class Daemon:
    name: str
    command: Sequence[str]
    logs: tuple[Path, ...]

    def running(self, layout: Layout) -> int | None:
        """Its process id while it runs."""
        try:
            pid = int(layout.pid_file(self.name).read_text())
        except (OSError, ValueError):
            return None
        return pid if processes.is_ours(pid, layout) else None


@dataclass(frozen=True)
class Started:
    """A daemon that was just started, by this very process: so its end is seen at once."""

    daemon: Daemon
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise, with the end of its log, if it died."""
        if self.process.poll() is None:
            return
        tail = log_tail(self.daemon.logs)
        error = PortTaken if "Address already in use" in tail else ClusterError
        raise error(f"{self.daemon.name} ended with status {self.process.returncode}. The end of its log:\n{tail}")


def require_programs(accounting: bool) -> None:
    wanted = _PROGRAMS + (_PROGRAMS_ACCOUNTING if accounting else ())
    missing = [name for name in wanted if which(name) is None]
    if missing:
        packages = _APT + (f" {_APT_ACCOUNTING}" if accounting else "")
        raise SlurmMissing(f"Not installed: {', '.join(missing)}. On Debian or Ubuntu, as root: {packages}")


def search_path() -> str:
    return os.pathsep.join(dict.fromkeys([*os.environ.get("PATH", "").split(os.pathsep), *_SYSTEM_PATH]))


def which(program: str) -> str | None:
    return shutil.which(program, path=search_path())


def daemon_environment(layout: Layout) -> dict[str, str]:
    """Clean: a daemon that inherited another cluster's SLURM_* variables would pass them on to every job."""
    kept = {
        name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "TZ", "USER", "LOGNAME") if name in os.environ
    }
    return {**kept, "PATH": search_path(), "SLURM_CONF": str(layout.conf), processes.MARKER: str(layout.root)}


def client_environment(layout: Layout, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The caller's environment, pointing at this cluster and free of a surrounding job's variables."""
    foreign = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_")
    kept = {name: value for name, value in base.items() if not name.startswith(foreign)}
    return {**kept, "PATH": search_path(), "SLURM_CONF": str(layout.conf)}


def start(daemon: Daemon, layout: Layout, extra_environment: Mapping[str, str] | None = None) -> Started:
    program = which(daemon.command[0])
    if program is None:
        raise SlurmMissing(f"{daemon.command[0]} is not installed. On Debian or Ubuntu, as root: {_APT}")
    with (layout.log / f"{daemon.name}.out").open("ab") as out:
        process = subprocess.Popen(
            [program, *daemon.command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**daemon_environment(layout), **(extra_environment or {})},
            cwd="/",  # a daemon keeps no folder busy
            start_new_session=True,  # Ctrl-C in the terminal is not meant for it
        )
    layout.pid_file(daemon.name).write_text(f"{process.pid}\n")
    return Started(daemon, process)


def stop(daemon: Daemon, layout: Layout, number: int = signal.SIGTERM, patience_s: float = 15.0) -> None:
    pid = daemon.running(layout)
    if pid is None:
        return
    processes.signal_each([pid], number)
    deadline = time.monotonic() + patience_s
    while processes.is_alive(pid):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{daemon.name} (process {pid}) is still there {patience_s:.0f} s after signal {number}."
            )
        time.sleep(0.01)


def wait_until(condition: Callable[[], bool], what: str, started: Sequence[Started], logs: Sequence[Path]) -> None:
    """Wait for a condition, but not for one that a dead daemon can no longer bring about."""
    deadline = time.monotonic() + START_TIMEOUT_S
    pause_s = 0.005
    while not condition():
        for each in started:
            each.check()
        if time.monotonic() > deadline:
            raise ClusterError(f"Waited {START_TIMEOUT_S:.0f} s for {what}. The end of the log:\n{log_tail(logs)}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)


def accepts_tcp(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def accepts_unix(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def free_ports(count: int) -> int:
    """The first of `count` neighbouring free ports.

    Below the ports that the kernel hands out to outgoing connections, for those would collide at random. The start is
    random, so that clusters that start together hardly ever look at the same ones (and PortTaken settles the rest).
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    lowest = 10000 if highest > 12000 else 1024
    if highest - lowest <= count:
        lowest, highest = 10000, 65000
    for _ in range(200):
        base = lowest + int.from_bytes(os.urandom(4), "big") % (highest - lowest - count)
        if all(_is_free(port) for port in range(base, base + count)):
            return base
    raise ClusterError(f"Found no {count} neighbouring free ports between {lowest} and {highest}.")


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("0.0.0.0", port))
        return True
    return False


def log_tail(logs: Sequence[Path], lines: int = 15) -> str:
    parts = []
    for log in logs:
        with contextlib.suppress(OSError):
            text = log.read_text(errors="replace").splitlines()[-lines:]
            if text:
                parts.append("\n".join([f"  {log}:", *(f"    {line}" for line in text)]))
    return "\n".join(parts) or "  (no log was written)"
