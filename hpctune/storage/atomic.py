"""Writes files atomically: a file is either complete or does not exist."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from hpctune.errors import StorageError
from hpctune.storage import permissions

if TYPE_CHECKING:
    from _typeshed import StrPath

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_AT_ONCE = 1 << 16


def write(path: StrPath, data: bytes | str, *, durable: bool = False, mode: int | None = None) -> None:
    """Publish ``data`` at ``path`` by rename.

    ``durable``: the data is on stable storage when this returns. ``mode``: the file's mode; by default the mode for new
    files in its directory. A failed or killed writer leaves at most a hidden temporary file, never a part of ``data``
    at ``path``.
    """
    payload = data.encode() if isinstance(data, str) else data
    directory = permissions.parent(path)
    temporary = f"{directory}/.{os.path.basename(path)}.{os.getpid()}.tmp"
    mode = permissions.mode_in(directory) if mode is None else mode
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            permissions.fix_mode(fd, mode)
            _write_all(fd, payload)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        if durable:
            sync_directory(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise StorageError(f"Cannot write {path}: {error.strerror or error}.") from error


def read(path: StrPath) -> bytes:
    """The whole file as it is now. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while more := os.read(fd, _AT_ONCE):
            data += more
        return data
    finally:
        os.close(fd)


def sync_directory(path: StrPath) -> None:
    """Make renames and creations in ``path`` durable, if the filesystem can."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def create_exclusively(path: StrPath, data: bytes) -> bool:
    """Create ``path`` with ``data``; returns False if it exists already. Of several callers exactly one succeeds.

    The file is never incomplete: a caller that is killed, or finds the disk full, has created nothing. Others see the
    file when this returns. A power failure may lose its content, so the content must be known elsewhere, too.
    Raises OSError.
    """
    if permissions.exists(path):
        return False
    temporary = f"{permissions.parent(path)}/.{os.path.basename(path)}.{os.urandom(6).hex()}.new"
    try:
        _write_new(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return os.stat(temporary).st_nlink == 2  # on NFS the link may have been created, and the answer lost
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _create_without_links(path, data)
        return True
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def move_exclusively(old: StrPath, new: StrPath) -> None:
    """Give the file ``old`` the name ``new``. Raises FileExistsError if that name is taken: of several callers exactly
    one succeeds. Raises OSError."""
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(old, new)
    else:
        os.unlink(old)


def _create_without_links(path: StrPath, data: bytes) -> bool:
    try:
        _write_new(path, data)
    except FileExistsError:
        return False
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return True


def _write_new(path: StrPath, data: bytes) -> None:
    mode = permissions.mode_in(permissions.parent(path))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        permissions.fix_mode(fd, mode)
        _write_all(fd, data)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:] if written else data)
