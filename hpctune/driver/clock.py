"""The real clock, whose sleep can be interrupted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from hpctune.common import forks
from hpctune.common.poll import wait_readable
from hpctune.storage.doorbell import Doorbell

SHORT_S = 0.002
"""A shorter rest is not interruptible."""


class WallClock:
    """The time of this machine. :meth:`wake` ends a sleep immediately, from any thread or signal handler.

    ``busy``: the largest share of the time that the process may work (default 0.5), because login nodes are shared. If
    needed, a sleep is longer than requested to keep this share. After that time a doorbell can end it.
    """

    def __init__(self, busy: float = 0.5) -> None:
        self._rest = (1.0 - busy) / busy
        """Seconds of sleep for each second of work."""
        self._wake_out, self._wake_in = os.pipe()
        for end in (self._wake_out, self._wake_in):
            os.set_blocking(end, False)
        self._bells: list[Doorbell] = []
        self._busy_since = time.monotonic()
        forks.own(self)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for end in (self._wake_out, self._wake_in):
            try:  # without names of the module: at the interpreter's end they may be gone
                close(end)
            except OSError:
                continue

    def forget(self) -> None:
        """In a forked child: it wakes no one."""
        self.__del__()
        self._wake_out = self._wake_in = -1

    def listen(self, bell: Doorbell) -> None:
        """Let rings of ``bell`` end sleeps."""
        self._bells.append(bell)

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        """Sleep for ``seconds`` (longer after much work), or until woken.

        Doorbells can end the sleep only after ``undisturbed`` seconds.
        """
        rest = max((time.monotonic() - self._busy_since) * self._rest, min(seconds, undisturbed))
        woken = False
        if rest < SHORT_S:
            time.sleep(rest)
        else:
            woken = self._wait(rest, [])
        if not woken:
            self._wait(seconds - rest, self._bells)
        self._busy_since = time.monotonic()

    def _wait(self, seconds: float, bells: list[Doorbell]) -> bool:
        """Wait. Returns whether something ended the wait before ``seconds`` were over."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = wait_readable([self._wake_out, *bells], left)
            if self._wake_out in ready:
                os.read(self._wake_out, 4096)
                return True
            if [bell for bell in bells if bell.fileno() in ready and bell.heard()]:
                return True
        return False

    def wake(self) -> None:
        """End a sleep immediately."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_in, b"\0")
