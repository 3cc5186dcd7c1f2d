"""Settings of Python's garbage collector for a process that keeps more and more objects."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator

ALL_S = 60.0
"""Seconds between two collections of all objects."""
MAX_FROZEN_AT_START = 1000
"""Objects that Python itself may have frozen at its start: some hundreds in 3.12. ``gc.freeze`` freezes thousands."""


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """In this context, objects that survived a full collection are not checked again for a minute.

    A driver keeps a value of each finished trial. The collector would check all of them repeatedly, so a result would
    cost more the more trials there were. Garbage is still collected, a minute later. If the process has frozen objects
    itself (``gc.freeze``), nothing is changed.
    """
    if gc.get_freeze_count() > MAX_FROZEN_AT_START or any(
        isinstance(callback, _FullCollections) for callback in gc.callbacks
    ):
        yield
        return
    collections = _FullCollections()
    gc.callbacks.append(collections)
    try:
        yield
    finally:
        gc.callbacks.remove(collections)
        gc.unfreeze()


class _FullCollections:
    def __init__(self) -> None:
        self._looked_at = time.monotonic()

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "stop":
            gc.freeze()
        elif time.monotonic() - self._looked_at > ALL_S:
            self._looked_at = time.monotonic()
            gc.unfreeze()
