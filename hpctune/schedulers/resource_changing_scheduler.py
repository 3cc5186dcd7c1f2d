"""Changing the resources of trials as they go on."""

from __future__ import annotations

from typing import Any

from hpctune.schedulers.later import LaterScheduler, refuse


class ResourceChangingScheduler(LaterScheduler):
    """Not supported yet."""


class DistributeResources(LaterScheduler):
    """Not supported yet."""


class DistributeResourcesToTopJob(LaterScheduler):
    """Not supported yet."""


def evenly_distribute_cpus_gpus(*args: Any, **kwargs: Any) -> Any:
    """Not supported yet."""
    refuse("evenly_distribute_cpus_gpus")
