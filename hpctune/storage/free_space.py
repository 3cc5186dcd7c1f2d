"""Whether a directory's filesystem has room, as far as that can be seen."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hpctune.storage import permissions

FEW_BYTES, FEW_FILES = 100 << 20, 1000
"""Less is hardly any; on a small filesystem less than a hundredth of it."""
_TRIED_BYTES = 1 << 16


def storage_problem(directory: Path) -> str:
    """Why nothing much can be written in ``directory``: read-only, or hardly any room left; "" where nothing is known
    to be wrong. Changes nothing; a quota is not to be seen."""
    try:
        seen = os.statvfs(directory)
    except OSError as error:
        return f"{directory} cannot be looked at: {error.strerror or error}"
    if seen.f_flag & os.ST_RDONLY:
        return "read-only"
    free = seen.f_bavail * seen.f_frsize
    if free < min(FEW_BYTES, seen.f_blocks * seen.f_frsize // 100):
        return f"{free / 1e6:.0f} MB free"
    if seen.f_files and seen.f_favail < min(FEW_FILES, seen.f_files // 100):
        return f"only {seen.f_favail} more files can be made (inodes)"
    return ""


def trouble_writing(directory: Path) -> str:
    """The same, also by writing a small file: it shows a quota that is used up."""
    found = storage_problem(directory)
    if found:
        return found
    path = directory / f".room.{os.getpid()}.tmp"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, permissions.mode_in(directory))
        try:
            os.write(fd, b"\0" * _TRIED_BYTES)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    return ""
