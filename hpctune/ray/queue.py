"""``ray.util.queue``: a queue of this process."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import Any, NoReturn

from hpctune.errors import UsageError
from hpctune.ray.remote import users_line

Empty, Full = queue.Empty, queue.Full


class Queue:
    """A queue for the threads of one process. It cannot be sent to a trial, which is a job of its own."""

    def __init__(self, maxsize: int = 0, actor_options: Any = None) -> None:
        self.maxsize, self._made_at = maxsize, users_line()
        self._queue: queue.Queue[Any] = queue.Queue(maxsize)

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{self._made_at}: this queue lives in the process that made it, and cannot be sent to a trial, which is a "
            "job of its own. Let the trial report with tune.report, or run the script with Ray itself: "
            "hpctune run --ray installed"
        )

    def __len__(self) -> int:
        return self._queue.qsize()

    def size(self) -> int:
        """How many items there are."""
        return self._queue.qsize()

    qsize = size

    def empty(self) -> bool:
        """Whether there is no item."""
        return self._queue.empty()

    def full(self) -> bool:
        """Whether there is no room."""
        return self._queue.full()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item. Raises Full."""
        self._queue.put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item. Raises Empty."""
        return self._queue.get(block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Add an item. Raises Full."""
        self._queue.put_nowait(item)

    def get_nowait(self) -> Any:
        """Take an item. Raises Empty."""
        return self._queue.get_nowait()

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add items. Raises Full, before any is added."""
        given = list(items)
        if self.maxsize and self.size() + len(given) > self.maxsize:
            raise Full
        for item in given:
            self._queue.put_nowait(item)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take items. Raises Empty, before any is taken."""
        if num_items > self.size():
            raise Empty
        return [self._queue.get_nowait() for _ in range(num_items)]

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """Remove all items."""
        while not self._queue.empty():
            self._queue.get_nowait()
