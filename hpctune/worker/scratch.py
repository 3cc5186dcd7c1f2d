"""Private directories of one process outside the shared filesystem, and the removal of those of dead processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import zlib
from pathlib import Path

_NAME = re.compile(r"hpctune-([0-9a-f]{8})-([0-9]+)-")
PARENTS = (None, "/tmp", "/dev/shm")
"""Candidate parents, the site's TMPDIR first. It may be full, or too long for a socket's path (about 100 bytes)."""
SOCKET_PARENTS = ("/dev/shm", None, "/tmp")
"""Candidate parents for sockets, which need no space: memory first."""


def make(parent: str | None = None) -> Path:
    """A new directory below ``parent`` (default: TMPDIR). Raises OSError."""
    return Path(tempfile.mkdtemp(prefix=f"hpctune-{_here()}-{os.getpid()}-", dir=parent))


def make_in_memory() -> Path | None:
    """A new directory in memory for small, short-lived files; None if there is no such filesystem."""
    for parent in SOCKET_PARENTS:
        with contextlib.suppress(OSError):
            return make(parent)
    return None


_sockets: Path | None = None


def keep_sockets_together() -> None:
    """Make one directory for the sockets of all forked children. This process must remove it."""
    global _sockets
    _sockets = make_in_memory()


def socket_directory() -> Path | None:
    """The common directory of sockets; None: each process has its own directory."""
    return _sockets


def remove_sockets() -> None:
    """Remove the directory made by :func:`keep_sockets_together`."""
    global _sockets
    if _sockets is not None:
        shutil.rmtree(_sockets, ignore_errors=True)
        _sockets = None


_swept = False


def sweep_once() -> None:
    """:func:`sweep`, unless this process or its forking parent has already done so."""
    global _swept
    if not _swept:
        _swept = True
        sweep()


def sweep() -> None:
    """Remove directories that killed processes of this user left on this node."""
    here, mine = _here(), os.geteuid()
    for parent in {parent or tempfile.gettempdir() for parent in PARENTS}:
        with contextlib.suppress(OSError), os.scandir(parent) as entries:
            for entry in entries:
                found = _NAME.match(entry.name)
                if found is None or found[1] != here or Path("/proc", found[2]).exists():
                    continue
                if entry.stat(follow_symlinks=False).st_uid == mine:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _here() -> str:
    """Identifies the scope of process ids: this node and this container's PID namespace."""
    try:
        numbering = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        numbering = 0
    return f"{zlib.crc32(f'{socket.gethostname()} {numbering}'.encode()):08x}"
