"""Many files that grow by whole records, few of them open at a time."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from pathlib import Path

from hpctune.storage import access

OPEN_AT_MOST = 64


class AppendFiles:
    """Appends to files that only we write.

    What the filesystem refuses (a full disk, a quota) is kept and written later, in order: a projection that lags
    must not end the experiment.
    """

    def __init__(self, limit: int = OPEN_AT_MOST) -> None:
        self._limit = limit
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._owed: dict[Path, bytes] = {}
        self._fresh: set[Path] = set()
        """Files to be emptied before the next write to them."""

    def start(self, path: Path, data: bytes = b"") -> None:
        """Begin ``path`` anew with ``data``; what it held is gone."""
        self.release(path)
        self._owed.pop(path, None)
        self._fresh.add(path)
        self.append(path, data)

    def append(self, path: Path, data: bytes) -> None:
        """Add ``data`` to the end of ``path``."""
        self._owed[path] = self._owed.get(path, b"") + data
        if len(self._owed) == 1:
            self._pay(path)
        else:
            for owed in list(self._owed):
                self._pay(owed)

    def owes(self) -> bool:
        """Whether something could not be written yet."""
        return bool(self._owed)

    def release(self, path: Path) -> None:
        """Close ``path``; a later append opens it again."""
        fd = self._open.pop(path, None)
        if fd is not None:
            _close(fd)

    def close(self) -> None:
        """Try to write what is owed, and close every file."""
        for path in list(self._owed):
            self._pay(path)
        for path in list(self._open):
            self.release(path)

    def _pay(self, path: Path) -> None:
        data = memoryview(self._owed[path])
        try:
            fd = self._descriptor(path)
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            self._owed[path] = bytes(data)
            self.release(path)  # a stale handle would never work again
        else:
            del self._owed[path]

    def _descriptor(self, path: Path) -> int:
        fd = self._open.get(path)
        if fd is not None and path not in self._fresh:
            self._open.move_to_end(path)
            return fd
        while len(self._open) >= self._limit:
            _close(self._open.popitem(last=False)[1])
        try:
            fd = access.open_to_append(path)
        except FileNotFoundError:
            access.make_directory(path.parent, exist_ok=True)
            fd = access.open_to_append(path)
        if path in self._fresh:
            os.ftruncate(fd, 0)
        self._fresh.discard(path)
        self._open[path] = fd
        return fd


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # some filesystems say only here that the disk is full
        os.close(fd)
