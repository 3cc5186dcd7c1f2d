"""Python's garbage collector in a process that keeps more and more objects for good."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterator

ALL_S = 60.0
"""Seconds between two looks at all objects."""


@contextlib.contextmanager
def frozen_gc() -> Iterator[None]:
    """While this lasts, what has survived a full collection is not looked at again for a minute.

    A driver keeps a value of each trial that is over. The collector looks at every object there is again and again, so
    that a result costs the more the more trials there were. What is garbage in the end is collected all the same, a
    minute later. Where the process has frozen objects itself (``gc.freeze``), nothing is changed.
    """
    if gc.get_freeze_count() or any(isinstance(callback, _FullCollections) for callback in gc.callbacks):
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
