"""Keeps a driver from deleting checkpoints that another thread is copying with the journal that names them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

_T = TypeVar("_T")
CheckpointKey = tuple[str, str]
"""A trial's id, and the name of one of its checkpoints."""


class CopyGuard:
    """Between the driver's thread, which deletes checkpoints, and one that copies the experiment.

    A copy must have each checkpoint that the copied part of the journal names: a trial may go on from it. So nothing is
    deleted while the files are listed. While they are copied, what was there then is kept; newer checkpoints may be
    deleted, so that a slow copy cannot fill the disk.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copying = False
        self._kept: frozenset[CheckpointKey] | None = None

    @contextlib.contextmanager
    def copying(self, listed: Callable[[], _T]) -> Iterator[_T]:
        """In this context, files that ``listed()`` has found are to be copied. Gives what it returns."""
        with self._lock:
            found = listed()
            self._copying, self._kept = True, None
        try:
            yield found
        finally:
            with self._lock:
                self._copying = False

    @contextlib.contextmanager
    def deleting(
        self, present: Callable[[], Collection[CheckpointKey]], *, last: bool
    ) -> Iterator[Callable[[CheckpointKey], bool]]:
        """In this context, the driver deletes checkpoints and writes to the journal that it did.

        ``present()``: all checkpoints that the journal has now. ``last``: there is no later time to do it; a copy that
        is being made has to begin again. Gives the rule by which a checkpoint may be deleted now.
        """
        if not self._lock.acquire(blocking=last):
            yield lambda key: False
            return
        try:
            if last or not self._copying:
                yield lambda key: True
                return
            if self._kept is None:
                self._kept = frozenset(present())
            kept = self._kept
            yield lambda key: key not in kept
        finally:
            self._lock.release()
