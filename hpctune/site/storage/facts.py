"""The abilities of a directory's filesystem, tested in a scratch directory in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hpctune.storage.quota import mount_of, quota_text

APPENDS = 20
_LOCK_PROGRAM = """
import fcntl, os, sys
fd = os.open(sys.argv[2], os.O_RDWR)
try:
    (fcntl.flock if sys.argv[1] == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("blocked")
except OSError as error:
    print(f"error: {error.strerror}")
else:
    print("acquired")
"""
_ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """``kind``: the filesystem's type. ``rename``, ``exclusive``, ``links``: "" if they work, else why not.
    ``locks``: what a second process here gets while the first holds one: "blocked" (right), "acquired", "error: ...".
    ``clock_ahead_s``: the file server's clock less ours. ``sync_s``: a synced append, in the middle."""

    path: Path
    kind: str = "?"
    source: str = ""
    options: str = ""
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int = 0
    total_inodes: int = 0
    quota: str = ""
    rename: str = ""
    exclusive: str = ""
    links: str = ""
    locks: dict[str, str] = field(default_factory=dict)
    clock_ahead_s: float = 0.0
    sync_s: float = 0.0
    trouble: str = ""


def gather(scratch: Path) -> StorageFacts:
    """Try everything in ``scratch``, an empty directory."""
    kind, source, options = mount_of(scratch, Path("/proc/self/mountinfo").read_text(errors="replace"))
    space = os.statvfs(scratch)
    return StorageFacts(
        path=scratch.parent,
        kind=kind,
        source=source,
        options=options,
        free_bytes=space.f_bavail * space.f_frsize,
        total_bytes=space.f_blocks * space.f_frsize,
        free_inodes=space.f_favail,
        total_inodes=space.f_files,
        quota=_one_line(quota_text(scratch, kind)),
        rename=_tried(lambda: _rename(scratch)),
        exclusive=_tried(lambda: _exclusive(scratch)),
        links=_tried(lambda: _link(scratch)),
        locks={how: lock_seen(scratch, how) for how in ("flock", "fcntl")},
        clock_ahead_s=_clock_ahead(scratch),
        sync_s=_sync_s(scratch),
    )


def _tried(action: Callable[[], str]) -> str:
    try:
        return action()
    except OSError as error:
        return error.strerror or str(error)


def _rename(scratch: Path) -> str:
    old, new = scratch / "rename-old", scratch / "rename-new"
    old.write_text("old")
    new.write_text("new")
    new.replace(old)
    return "" if old.read_text() == "new" and not new.exists() else "the old file is still there"


def _exclusive(scratch: Path) -> str:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(scratch / "exclusive", flags, 0o600))
    try:
        os.close(os.open(scratch / "exclusive", flags, 0o600))
    except FileExistsError:
        return ""
    return "a file that existed was created once more"


def _link(scratch: Path) -> str:
    (scratch / "link-from").write_text("x")
    os.link(scratch / "link-from", scratch / "link-to")
    try:
        os.link(scratch / "link-from", scratch / "link-to")
    except FileExistsError:
        return ""
    return "a link that existed was made once more"


def lock_seen(scratch: Path, how: str) -> str:
    """What another process on this machine gets while we hold a lock."""
    path = scratch / f"lock-here-{how}"
    path.touch(0o600)
    fd = os.open(path, os.O_RDWR)
    try:
        (fcntl.flock if how == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        asked = subprocess.run(
            [sys.executable, "-c", _LOCK_PROGRAM, how, str(path)],
            capture_output=True, text=True, timeout=_ASK_S, check=False,
        )  # fmt: skip
        return asked.stdout.strip() or "error: no output of the second process"
    except subprocess.TimeoutExpired:
        return "error: no answer"
    except OSError as error:
        return f"error: {error.strerror}"
    finally:
        os.close(fd)


def _clock_ahead(scratch: Path) -> float:
    """Difference of the server's clock and ours, measured at the midpoint of the call."""
    before = time.time()
    path = scratch / "clock"
    path.write_text("x")
    middle = (before + time.time()) / 2
    return path.stat().st_mtime - middle


def _sync_s(scratch: Path) -> float:
    times = []
    fd = os.open(scratch / "append", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(APPENDS):
            began = time.monotonic()
            os.write(fd, b"x" * 200 + b"\n")
            os.fsync(fd)
            times.append(time.monotonic() - began)
    finally:
        os.close(fd)
    return sorted(times)[APPENDS // 2]


def _one_line(text: str) -> str:
    return " | ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())[:300]
