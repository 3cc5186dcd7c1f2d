"""Many files that grow by whole records; only a few are open at a time."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict

from hpctune.storage import permissions

OPEN_AT_MOST = 64


class AppendFiles:
    """Appends to files that only we write, at each :meth:`flush`.

    What the filesystem refuses (a full disk, a quota) is kept and written later, in order: a projection that lags
    must not end the experiment.
    """

    def __init__(self, limit: int = OPEN_AT_MOST) -> None:
        self._limit = limit
        self._open: OrderedDict[str, int] = OrderedDict()
        self._owed: dict[str, list[bytes]] = {}
        self._fresh: set[str] = set()
        """Files to be emptied before the next write to them."""

    def __del__(self) -> None:
        for fd in self._open.values():
            _close(fd)

    def start(self, path: str, data: bytes = b"") -> None:
        """Replace the content of ``path`` by ``data``."""
        self._shut(path)
        self._fresh.add(path)
        self._owed[path] = [data]

    def append(self, path: str, data: bytes) -> None:
        """Add ``data`` to the end of ``path``."""
        owed = self._owed.get(path)
        if owed is None:
            self._owed[path] = [data]
        else:
            owed.append(data)

    def flush(self) -> bool:
        """Write the added records; False if some could not be written yet."""
        for path in list(self._owed):
            self._pay(path)
        return not self._owed

    def release(self, path: str) -> bool:
        """Write what was added to ``path`` and close it; a later append opens it again. False if some is still to
        be written."""
        if path in self._owed:
            self._pay(path)
        self._shut(path)
        return path not in self._owed

    def close(self) -> None:
        """Try to write all pending records, and close every file."""
        self.flush()
        for path in list(self._open):
            self._shut(path)

    def _pay(self, path: str) -> None:
        data = memoryview(b"".join(self._owed[path]))
        try:
            fd = self._descriptor(path)
            while data:
                data = data[os.write(fd, data) :]
        except OSError:
            self._owed[path] = [bytes(data)]
            self._shut(path)  # a stale handle would never work again
        else:
            del self._owed[path]

    def _shut(self, path: str) -> None:
        fd = self._open.pop(path, None)
        if fd is not None:
            _close(fd)

    def _descriptor(self, path: str) -> int:
        fd = self._open.get(path)
        if fd is not None and path not in self._fresh:
            self._open.move_to_end(path)
            return fd
        while len(self._open) >= self._limit:
            _close(self._open.popitem(last=False)[1])
        fd = permissions.open_to_append(path, parents=True)
        if path in self._fresh and os.fstat(fd).st_size:  # ext4 flushes a truncated file when it is closed
            os.ftruncate(fd, 0)
        self._fresh.discard(path)
        self._open[path] = fd
        return fd


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # some filesystems report a full disk only here
        os.close(fd)
