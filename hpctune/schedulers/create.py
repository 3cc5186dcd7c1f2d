"""Schedulers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from hpctune.common import plugins
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy

_ASHA = ("async_hyperband", "AsyncHyperBandScheduler")
_MEDIAN = ("median_stopping_rule", "MedianStoppingRule")
AVAILABLE: dict[str, tuple[str, str]] = {
    "fifo": ("base", "FIFOScheduler"),
    "asha": _ASHA,
    "async_hyperband": _ASHA,
    "async_hyper_band": _ASHA,
    "asynchyperband": _ASHA,
    "asha_promotion": ("asha_promotion", "ASHAPromotionScheduler"),
    "median_stopping_rule": _MEDIAN,
    "median_stopping": _MEDIAN,
    "medianstopping": _MEDIAN,
    "medianstoppingrule": _MEDIAN,
    "hyperband": ("hyperband", "HyperBandScheduler"),
    "hb_bohb": ("hb_bohb", "HyperBandForBOHB"),
    "pasha": ("pasha", "PASHAScheduler"),
    "pbt": ("pbt", "PopulationBasedTraining"),
    "pbt_replay": ("pbt", "PopulationBasedTrainingReplay"),
    "pb2": ("pb2", "PB2"),
    "wandb_hyperband": ("wandb_hyperband", "WandbHyperband"),
    "resource_changing": ("resource_changing_scheduler", "ResourceChangingScheduler"),
}
"""Name -> module and class; a module is imported when its scheduler is made."""


def create_scheduler(scheduler: str, **kwargs: Any) -> SchedulerPolicy:
    """The scheduler of this name, made with ``kwargs``.

    ``metric`` and ``mode`` may be given to every scheduler; those that use none drop them. Raises UsageError for an
    unknown name or keyword, or a missing one.
    """
    name = str(scheduler).lower()
    made = _class(name) or plugins.find(plugins.SCHEDULERS, str(scheduler))
    if made is None:
        valid = ", ".join((*AVAILABLE, *plugins.names(plugins.SCHEDULERS)))
        raise UsageError(f"There is no scheduler {scheduler!r}. Valid names: {valid}.")
    known = inspect.signature(made).parameters
    unknown = [key for key in kwargs if key not in (*known, "metric", "mode")]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        log.warning(
            f"The scheduler {scheduler!r} has no argument {', '.join(map(repr, unknown))}, which is ignored: {takes}."
        )
    lacks = [key for key, one in known.items() if one.default is one.empty and one.kind in _NAMED and key not in kwargs]
    if lacks:
        raise UsageError(f"The scheduler {scheduler!r} needs {', '.join(lacks)}: create_scheduler({name!r}, ...).")
    return made(**{key: value for key, value in kwargs.items() if key in known})


def _class(name: str) -> Callable[..., SchedulerPolicy] | None:
    if name not in AVAILABLE:
        return None
    module, title = AVAILABLE[name]
    found: Callable[..., SchedulerPolicy] = getattr(import_module(f"hpctune.schedulers.{module}"), title)
    return found


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


SCHEDULER_IMPORT = {name: partial(_class, name) for name in AVAILABLE}
"""By name, a function that gives the class."""


def as_scheduler(scheduler: object, metric: str | None, mode: str | None) -> SchedulerPolicy:
    """What a user gave as ``scheduler``, ready for the engine; None is first come, first served.

    One that optimizes something and was not told what gets ``metric`` and ``mode``. One with a method ``fresh`` is
    copied by it, so that experiments share no memory. Raises UsageError when it is no scheduler, was told otherwise
    already, or still does not know what to optimize.
    """
    if scheduler is None:
        return FIFOScheduler()
    made: Any = create_scheduler(scheduler) if isinstance(scheduler, str) else scheduler
    lacks = [name for name in _METHODS if not callable(getattr(made, name, None))]
    if lacks or isinstance(made, type):
        raise UsageError(
            f"scheduler= takes an instance of a scheduler of hpctune.schedulers, or a name, not {scheduler!r}."
        )
    if hasattr(made, "fresh"):
        made = made.fresh()
    tell = getattr(made, "set_search_properties", None)
    if tell is not None and (metric or mode) and not tell(metric, mode):
        raise UsageError(
            f"{type(made).__name__} has a metric and mode of its own, and the experiment has metric={metric!r} and "
            f"mode={mode!r}. Give them to one of the two."
        )
    if hasattr(made, "check_search_properties"):
        made.check_search_properties()
    ready: SchedulerPolicy = made
    return ready


_METHODS = (
    "complete_config",
    "on_trial_add",
    "on_trial_result",
    "on_trial_complete",
    "on_trial_error",
    "on_search_exhausted",
    "decisions_on_others",
    "choose",
    "milestone",
)
