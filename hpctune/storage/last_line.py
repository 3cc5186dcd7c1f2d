"""Files with one writer of which the last whole line counts, read anew at each look.

What is new is appended: a file that is made and renamed over another costs many times as much, on the disk and on the
server of a shared one. A line that is not whole yet, or never will be, is not there; then the one before it counts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hpctune.storage import atomic

if TYPE_CHECKING:
    from _typeshed import StrPath

LARGEST = 16_384
"""Bytes after which the file is made anew."""


class LastLine:
    """The writing end. Whatever it finds otherwise than it has left it (a line that was cut off, another writer's) it
    replaces whole."""

    __slots__ = ("_path", "_size")

    def __init__(self, path: StrPath) -> None:
        self._path, self._size = path, -1

    def publish(self, line: str) -> None:
        """Let this line count; others see it when this returns. Raises StorageError."""
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
    """The last whole line in ``data``; all of it where no line ends in it."""
    end = data.rfind(b"\n")
    return data if end < 0 else data[data.rfind(b"\n", 0, end) + 1 : end]
