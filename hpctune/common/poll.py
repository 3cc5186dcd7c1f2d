"""Waiting for something to read."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Protocol


class _End(Protocol):
    def fileno(self) -> int: ...


def wait_readable(ends: Iterable[int | _End], seconds: float) -> set[int]:
    """Those descriptors of ``ends`` that can be read now or within so many seconds, to the millisecond.

    They may have any number, where ``select.select`` ends at 1,023: user code may hold many files open.
    """
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    return {end for end, _ in poll.poll(max(0.0, 1000 * seconds))}
