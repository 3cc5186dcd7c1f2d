"""Rate limit of the display: a minimum interval, and a maximum share of the driver's time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter

COST_FACTOR = 50
"""What is throttled takes at most one part in this many of the time."""


class Throttle:
    """Lets something costly happen at most every ``interval_s`` seconds, and more rarely the longer it takes."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._next = interval_s, float("-inf")

    def due(self, now: float) -> bool:
        """Whether it is time."""
        return now >= self._next

    @contextlib.contextmanager
    def measured(self, now: float) -> Iterator[None]:
        """Around the costly thing."""
        began = perf_counter()
        yield
        self._next = now + max(self._interval_s, COST_FACTOR * (perf_counter() - began))
