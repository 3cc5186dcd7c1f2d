"""Schedulers: what decides which trials go on, pause or stop. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.schedulers.asha_promotion import ASHAPromotionScheduler as ASHAPromotionScheduler
    from hpctune.schedulers.async_hyperband import (
        ASHAScheduler as ASHAScheduler,
        AsyncHyperBandScheduler as AsyncHyperBandScheduler,
    )
    from hpctune.schedulers.base import (
        FIFOScheduler as FIFOScheduler,
        SchedulerPolicy as SchedulerPolicy,
    )
    from hpctune.schedulers.create import (
        SCHEDULER_IMPORT as SCHEDULER_IMPORT,
        as_scheduler as as_scheduler,
        create_scheduler as create_scheduler,
    )
    from hpctune.schedulers.hb_bohb import HyperBandForBOHB as HyperBandForBOHB
    from hpctune.schedulers.hyperband import HyperBandScheduler as HyperBandScheduler
    from hpctune.schedulers.median_stopping_rule import MedianStoppingRule as MedianStoppingRule
    from hpctune.schedulers.pasha import PASHAScheduler as PASHAScheduler
    from hpctune.schedulers.pb2 import PB2 as PB2
    from hpctune.schedulers.pbt import (
        PopulationBasedTraining as PopulationBasedTraining,
        PopulationBasedTrainingReplay as PopulationBasedTrainingReplay,
    )
    from hpctune.schedulers.resource_changing_scheduler import (
        DistributeResources as DistributeResources,
        DistributeResourcesToTopJob as DistributeResourcesToTopJob,
        ResourceChangingScheduler as ResourceChangingScheduler,
        evenly_distribute_cpus_gpus as evenly_distribute_cpus_gpus,
    )
    from hpctune.schedulers.trial_scheduler import TrialScheduler as TrialScheduler
    from hpctune.schedulers.wandb_hyperband import WandbHyperband as WandbHyperband

_HOMES = {
    "asha_promotion": ("ASHAPromotionScheduler",),
    "async_hyperband": ("ASHAScheduler", "AsyncHyperBandScheduler"),
    "base": ("FIFOScheduler", "SchedulerPolicy"),
    "create": ("SCHEDULER_IMPORT", "as_scheduler", "create_scheduler"),
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
    "wandb_hyperband": ("WandbHyperband",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
