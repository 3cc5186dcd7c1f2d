"""The real clock."""

from __future__ import annotations

import threading
import time


class WallClock:
    """Time of this machine. :meth:`wake` ends a sleep at once, from any thread or signal handler."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds``, or until woken."""
        if self._woken.wait(seconds):
            self._woken.clear()

    def wake(self) -> None:
        """End a sleep at once."""
        self._woken.set()
