"""``ray.util.multiprocessing``: the standard library's pool."""

from __future__ import annotations

from multiprocessing import TimeoutError
from multiprocessing.pool import Pool as _Pool
from typing import Any

from hpctune.cluster.local.machine import cpu_count


class Pool(_Pool):
    """``multiprocessing.Pool``, with as many processes as this process may use CPUs."""

    def __init__(
        self, processes: int | None = None, initializer: Any = None, initargs: Any = (), maxtasksperchild: Any = None,
        context: Any = None, ray_address: str | None = None, ray_remote_args: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(processes or cpu_count(), initializer, initargs, maxtasksperchild, context)


__all__ = ["Pool", "TimeoutError"]
