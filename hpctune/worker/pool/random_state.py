"""Random numbers in forked processes: without care every trial of a worker would draw the same ones.

A trial of its own process has random numbers of its own, unless the user's module seeds them when it is imported; then
it starts from that seed. A forked trial must find the same. So generators that were left alone are seeded afresh in
each child, and generators that the user's import has seeded are not touched.
"""

from __future__ import annotations

import random
import sys
from typing import Any

_UNSEEDED = (0x80000000, 623)
"""First word and position of numpy's global generator as long as only the system's entropy has seeded it: a seed that
somebody chose leaves it at another position."""
_LARGEST_SEED = 2**32
"""torch seeds itself from the system's entropy with 53 bits or more; people choose smaller numbers."""


class Randomness:
    """Made before the user's code is imported; :meth:`renew` is called in each child."""

    def __init__(self) -> None:
        self._before = random.getstate()
        self._seeded: tuple[Any, ...] | None = None
        """The state of Python's own generator, where the user has seeded it: it seeds itself afresh in each child."""
        self._numpy = self._torch = True
        """Which of the generators are to be renewed."""

    def imported(self) -> None:
        """The user's code is imported: note what it has seeded."""
        state = random.getstate()
        self._seeded = state if state != self._before else None
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None:
            self._numpy = _left_alone(numpy)
        if torch is not None:
            self._torch = int(torch.initial_seed()) >= _LARGEST_SEED

    def renew(self) -> None:
        """Draw fresh seeds, where the user has not chosen any."""
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
