"""Waits until a descriptor is readable."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Protocol


class _End(Protocol):
    def fileno(self) -> int: ...


def wait_readable(ends: Iterable[int | _End], seconds: float) -> set[int]:
    """The descriptors of ``ends`` that are readable now or within ``seconds`` (rounded to milliseconds).

    Descriptors may be above 1,023, the limit of ``select.select``, because user code may have many open files.
    """
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    return {end for end, _ in poll.poll(max(0.0, 1000 * seconds))}
