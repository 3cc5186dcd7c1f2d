"""Locks on files. ``filelock`` makes them; the right to drive, which outlives them, is ``lease``'s business."""

from __future__ import annotations

import errno
from pathlib import Path

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
_POLL_S = 0.02


class Lock:
    """An exclusive lock on a file, held from construction until :meth:`release`; it ends with its process.

    ``wait_s``: seconds to wait for another holder. ``real`` is False if the filesystem has no locks: filelock's own
    replacement, a file that says who holds it, would stay for ever when a node dies.

    Raises BlockingIOError if somebody else has it, OSError if the file cannot be made.
    """

    def __init__(self, path: Path, wait_s: float = 0.0) -> None:
        import filelock

        self._lock = filelock.FileLock(path, mode=0o600, thread_local=False, fallback_to_soft=False)
        self.real = True
        try:
            self._lock.acquire(timeout=wait_s, poll_interval=_POLL_S)
        except filelock.Timeout as error:
            raise BlockingIOError(f"{path} is locked by another process.") from error
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            self.real = False

    def release(self) -> None:
        """Let go; idempotent."""
        self._lock.release(force=True)
