"""Single-writer files whose last complete line is the current value.

A new value is appended, because to write a new file and rename it costs many times as much, on a disk and on a file
server. Readers open the file each time. They ignore an incomplete line and use the one before it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpctune.storage import atomic

if TYPE_CHECKING:
    from _typeshed import StrPath

LARGEST = 16_384
"""Bytes after which the file is replaced by a new one."""


class LastLine:
    """The writer. If the file is not as this writer left it (an incomplete or foreign line), it replaces the file."""

    __slots__ = ("_path", "_size")

    def __init__(self, path: StrPath) -> None:
        self._path, self._size = path, -1

    def publish(self, line: str) -> None:
        """Make ``line`` the current value. Others see it when this returns. Raises StorageError."""
        data = line.encode() + b"\n"
        size, self._size = self._size, -1
        if not (0 < size < LARGEST and self._append(data, size)):
            atomic.write(self._path, data)
            size = 0
        self._size = size + len(data)

    def _append(self, data: bytes, size: int) -> bool:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                return os.fstat(fd).st_size == size and os.write(fd, data) == len(data)
            finally:
                os.close(fd)
        except OSError:
            return False


def last_line(data: bytes) -> bytes:
    """The last complete line in ``data``; all of ``data`` if it has no line end."""
    end = data.rfind(b"\n")
    return data if end < 0 else data[data.rfind(b"\n", 0, end) + 1 : end]
