"""How often something costly may happen: a minimum interval, and a maximum share of the time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from time import perf_counter

DRIVER_FACTOR = 50
"""What a driver does only to be seen takes at most one part in this many of its time."""
LOOK_FACTOR = 5
"""Commands that look again and again wait at least this many times the seconds of the last look: they take at most a
sixth of the time."""


class Throttle:
    """Lets something costly happen at most every ``interval_s`` seconds, and more rarely the longer it takes: the next
    time is at the earliest after ``factor`` times the seconds that it took."""

    def __init__(self, interval_s: float, factor: float = LOOK_FACTOR) -> None:
        self._interval_s, self._factor, self._next = interval_s, factor, -math.inf

    def due(self, now: float) -> bool:
        """Whether it is time. ``now``: seconds, by the same clock each time."""
        return now >= self._next

    def wait_s(self, now: float) -> float:
        """Seconds until it is time; 0 if it is."""
        return max(self._next - now, 0.0)

    @contextlib.contextmanager
    def measured(self, now: float) -> Iterator[None]:
        """Around the costly thing, which begins ``now``. Until it is over, it is not due again."""
        began, self._next = perf_counter(), math.inf
        try:
            yield
        finally:
            taken = perf_counter() - began
            self._next = now + max(self._interval_s, taken + self._factor * taken)
