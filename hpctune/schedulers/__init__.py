"""Schedulers: what decides which trials go on, pause or stop. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpctune.schedulers.asha_promotion import ASHAPromotionScheduler
    from hpctune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
    from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
    from hpctune.schedulers.create import as_scheduler, create_scheduler
    from hpctune.schedulers.hb_bohb import HyperBandForBOHB
    from hpctune.schedulers.hyperband import HyperBandScheduler
    from hpctune.schedulers.median_stopping_rule import MedianStoppingRule
    from hpctune.schedulers.pasha import PASHAScheduler
    from hpctune.schedulers.pb2 import PB2
    from hpctune.schedulers.pbt import PopulationBasedTraining, PopulationBasedTrainingReplay
    from hpctune.schedulers.resource_changing_scheduler import (
        DistributeResources,
        DistributeResourcesToTopJob,
        ResourceChangingScheduler,
        evenly_distribute_cpus_gpus,
    )
    from hpctune.schedulers.trial_scheduler import TrialScheduler

_HOMES = {
    "asha_promotion": ("ASHAPromotionScheduler",),
    "async_hyperband": ("ASHAScheduler", "AsyncHyperBandScheduler"),
    "base": ("FIFOScheduler", "SchedulerPolicy"),
    "create": ("as_scheduler", "create_scheduler"),
    "hb_bohb": ("HyperBandForBOHB",),
    "hyperband": ("HyperBandScheduler",),
    "median_stopping_rule": ("MedianStoppingRule",),
    "pasha": ("PASHAScheduler",),
    "pb2": ("PB2",),
    "pbt": ("PopulationBasedTraining", "PopulationBasedTrainingReplay"),
    "resource_changing_scheduler": (
        "DistributeResources",
        "DistributeResourcesToTopJob",
        "ResourceChangingScheduler",
        "evenly_distribute_cpus_gpus",
    ),
    "trial_scheduler": ("TrialScheduler",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PB2",
    "ASHAPromotionScheduler",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PASHAScheduler",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "SchedulerPolicy",
    "TrialScheduler",
    "as_scheduler",
    "create_scheduler",
    "evenly_distribute_cpus_gpus",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
