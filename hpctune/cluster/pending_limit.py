"""A limit on how many jobs of an experiment may wait in the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from hpctune.model.resources import Resources
from hpctune.ports import Cluster


class PendingLimit:
    """A cluster that takes no more jobs while ``limit`` of them wait. ``pending()`` returns how many wait now."""

    def __init__(self, cluster: Cluster, limit: int, pending: Callable[[], int]) -> None:
        self._cluster, self._limit, self._pending = cluster, limit, pending

    def room(self, resources: Resources) -> int:
        """The room of the wrapped cluster, reduced to what ``limit`` allows."""
        return min(self._cluster.room(resources), self._limit - self._pending())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def limit_pending(cluster: Cluster, limit: int | None, pending: Callable[[], int]) -> Cluster:
    """``cluster``, limited if ``limit`` is not None."""
    return cluster if limit is None else cast(Cluster, PendingLimit(cluster, limit, pending))
