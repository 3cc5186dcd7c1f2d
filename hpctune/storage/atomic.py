"""Files that are either there and whole, or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hpctune.errors import StorageError


def write(path: Path, data: bytes | str, *, durable: bool = False, mode: int = 0o600) -> None:
    """Publish ``data`` at ``path`` by rename; ``durable``: on stable storage when this returns.

    A failed or killed writer leaves at most a hidden temporary file, never a part at ``path`` itself.
    """
    payload = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            with open(fd, "wb", closefd=False) as file:
                file.write(payload)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def sync_directory(path: Path) -> None:
    """Make renames and creations in ``path`` durable, where the filesystem can."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def create_exclusively(path: Path, data: bytes) -> bool:
    """Create ``path`` holding ``data``; False when it exists already. Exactly one of any number of callers wins."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    return True
