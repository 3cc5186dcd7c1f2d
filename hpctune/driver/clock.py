"""The real clock."""

from __future__ import annotations

import threading
import time


class WallClock:
    """Time of this machine. :meth:`wake` ends a sleep at once, from any thread or signal handler.

    A sleep lasts at least as long as the work since the last one took: the process is busy for half of the time at
    most, since login nodes are shared.
    """

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._busy_since = time.monotonic()

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` (longer after much work), or until woken."""
        if self._woken.wait(max(seconds, time.monotonic() - self._busy_since)):
            self._woken.clear()
        self._busy_since = time.monotonic()

    def wake(self) -> None:
        """End a sleep at once."""
        self._woken.set()
