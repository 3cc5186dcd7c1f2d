"""Random numbers in forked processes: without new seeds, all trials of a worker would draw the same numbers.

A trial in its own process has its own random numbers, unless the user's module sets a seed at import; then the trial
starts from that seed. A forked trial must behave the same. So each child seeds again the generators that nobody has
seeded, and keeps the generators that the user's import has seeded.
"""

from __future__ import annotations

import random
import sys
from typing import Any

_UNSEEDED = (0x80000000, 623)
"""First word and position of numpy's global generator if only the system's entropy has seeded it. A seed chosen by a
user leaves the generator at another position."""
_LARGEST_SEED = 2**32
"""torch seeds itself from the system's entropy with at least 53 bits; users choose smaller numbers."""


class Randomness:
    """Create it before the user's code is imported, and call :meth:`renew` in each child."""

    def __init__(self) -> None:
        self._before = random.getstate()
        self._seeded: tuple[Any, ...] | None = None
        """State of Python's own generator, if the user has seeded it. Python seeds it again in each child."""
        self._numpy = self._torch = True
        """The generators to seed again."""

    def imported(self) -> None:
        """Call after the user's code is imported: records which generators it has seeded."""
        state = random.getstate()
        self._seeded = state if state != self._before else None
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None:
            self._numpy = _left_alone(numpy)
        if torch is not None:
            self._torch = int(torch.initial_seed()) >= _LARGEST_SEED

    def renew(self) -> None:
        """Draw new seeds for generators that the user has not seeded."""
        if self._seeded is not None:
            random.setstate(self._seeded)
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and self._numpy:
            numpy.random.seed()
        if torch is not None and self._torch:
            torch.seed()


def _left_alone(numpy: Any) -> bool:
    state = numpy.random.get_state(legacy=True)
    return (int(state[1][0]), int(state[2])) == _UNSEEDED
