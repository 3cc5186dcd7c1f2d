"""A stopper that measures how long the experiment has been driven."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from hpctune.common.checks import is_number
from hpctune.errors import UsageError
from hpctune.stopper.stopper import Stopper


class TimeoutStopper(Stopper):
    """Stops the experiment once it has been driven for ``timeout``, counted over all drivers.

    Time passes from one ``tick`` to the next. It does not pass while there is no driver: the state and the pickle hold
    the time spent but not the last tick, so the first tick of a new driver starts the clock again.

    Args:
        timeout: Seconds, or a timedelta.
        clock: Where ``stop_all`` gets the time from (seconds) if ``tick`` is never called.

    Raises:
        UsageError: if ``timeout`` is neither, or negative.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("_spent_s",)

    def __init__(self, timeout: float | timedelta, *, clock: Callable[[], float] = time.time) -> None:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if not is_number(seconds) or math.isnan(seconds) or seconds < 0:
            raise UsageError(f"timeout must be a number of seconds (0 or more) or a timedelta, not {timeout!r}.")
        self.timeout_s = float(seconds)
        self._clock = clock
        self._spent_s = 0.0
        self._last_s: float | None = None
        self._ticked = False

    @property
    def spent_s(self) -> float:
        """The seconds that the experiment has been driven so far."""
        return self._spent_s

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self._ticked:
            self._advance(self._clock())
        return self._spent_s >= self.timeout_s

    def tick(self, now: float) -> None:
        if not self._ticked:  # what the own clock measured is not comparable
            self._ticked, self._last_s = True, None
        self._advance(now)

    def _advance(self, now: float) -> None:
        if self._last_s is not None:
            self._spent_s += max(0.0, now - self._last_s)
        self._last_s = now

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last_s": None, "_ticked": False}
