"""Checks whether the filesystem of a directory has free space, as far as that is visible."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hpctune.storage import permissions

FEW_BYTES, FEW_FILES = 100 << 20, 1000
"""Less free space than this is a problem; on a small filesystem, less than a hundredth of its size."""
_TRIED_BYTES = 1 << 16


def free_bytes(directory: Path) -> int | None:
    """How many bytes can still be written in ``directory``, as far as the filesystem tells; None if it does not."""
    try:
        seen = os.statvfs(directory)
    except OSError:
        return None
    return seen.f_bavail * seen.f_frsize if seen.f_blocks else None


def storage_problem(directory: Path) -> str:
    """Why little or nothing can be written in ``directory``: read-only, or almost full; "" if no problem is known.

    Changes nothing. A quota is not visible this way.
    """
    try:
        seen = os.statvfs(directory)
    except OSError as error:
        return f"{directory} cannot be accessed: {error.strerror or error}"
    if seen.f_flag & os.ST_RDONLY:
        return "read-only"
    free = seen.f_bavail * seen.f_frsize
    if free < min(FEW_BYTES, seen.f_blocks * seen.f_frsize // 100):
        return f"{free / 1e6:.0f} MB free"
    if seen.f_files and seen.f_favail < min(FEW_FILES, seen.f_files // 100):
        return f"only {seen.f_favail} more files can be created (inodes)"
    return ""


def trouble_writing(directory: Path) -> str:
    """The same, and in addition by writing a small file, which detects a used-up quota."""
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
