"""Work side by side, in threads for which no program waits when it ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def side_by_side(function: Callable[[_In], _Out], items: Sequence[_In], at_once: int, name: str) -> Iterator[_Out]:
    """The results of ``function``, as they are ready. After an exception nothing more is begun; what runs is waited
    for, then it is raised.

    The threads of the standard library's pools keep a program from ending until they are done. A copy to a place that
    does not answer would do so for minutes.
    """
    todo: queue.SimpleQueue[_In] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[_Out | None, BaseException | None]] = queue.SimpleQueue()
    for item in items:
        todo.put(item)
    failed = threading.Event()

    def work() -> None:
        while not failed.is_set():
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((function(item), None))
            except BaseException as error:
                failed.set()
                done.put((None, error))

    threads = [threading.Thread(target=work, name=name, daemon=True) for _ in range(min(at_once, len(items)))]
    for thread in threads:
        thread.start()
    try:
        for _ in items:
            result, error = done.get()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        failed.set()
        for thread in threads:
            thread.join()
