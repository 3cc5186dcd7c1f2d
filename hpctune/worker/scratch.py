"""Directories of one process outside the shared filesystem, and the removal of those that dead processes left."""

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
"""Where they may lie, the site's TMPDIR first: it may be full, or too long for a socket's path (about 100 bytes)."""
SOCKET_PARENTS = ("/dev/shm", None, "/tmp")
"""The same for sockets, which take no room: in memory first."""


def make(parent: str | None = None) -> Path:
    """A new directory below ``parent`` (default: TMPDIR). Raises OSError."""
    return Path(tempfile.mkdtemp(prefix=f"hpctune-{_here()}-{os.getpid()}-", dir=parent))


def make_in_memory() -> Path | None:
    """A new directory for what is small and short-lived, in memory if there is such a place; None: nowhere."""
    for parent in SOCKET_PARENTS:
        with contextlib.suppress(OSError):
            return make(parent)
    return None


_sockets: Path | None = None


def keep_sockets_together() -> None:
    """Make a directory for the sockets of all processes that are forked from this one, which is to remove it."""
    global _sockets
    _sockets = make_in_memory()


def socket_directory() -> Path | None:
    """Where sockets are kept together; None: each process has a directory of its own."""
    return _sockets


def remove_sockets() -> None:
    """Remove what :func:`keep_sockets_together` has made."""
    global _sockets
    if _sockets is not None:
        shutil.rmtree(_sockets, ignore_errors=True)
        _sockets = None


_swept = False


def sweep_once() -> None:
    """:func:`sweep`, unless this process, or the one that it was forked from, has done so."""
    global _swept
    if not _swept:
        _swept = True
        sweep()


def sweep() -> None:
    """Remove what processes of this user on this node left when they were killed."""
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
    """Says which processes a process id may be of: those of this node, and of this container's own numbering."""
    try:
        numbering = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        numbering = 0
    return f"{zlib.crc32(f'{socket.gethostname()} {numbering}'.encode()):08x}"
