"""Locks on files, made with ``filelock``. The right to drive, which outlives a lock, is in ``lease.py``."""

from __future__ import annotations

import errno
from pathlib import Path

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
_POLL_S = 0.02


class Lock:
    """An exclusive lock on a file, held from construction until :meth:`release` or the end of the process.

    ``wait_s``: seconds to wait for another holder (default 0). ``real`` is False if the filesystem has no locks.
    Then nothing is held: filelock's replacement, a file that names the holder, would stay for ever after a node dies.

    Raises BlockingIOError if another process holds it, OSError if the file cannot be created.
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
        """Release the lock; idempotent."""
        self._lock.release(force=True)
