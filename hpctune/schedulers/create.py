"""Schedulers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from hpctune.errors import UsageError
from hpctune.schedulers.async_hyperband import AsyncHyperBandScheduler
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.schedulers.later import refuse
from hpctune.schedulers.median_stopping_rule import MedianStoppingRule

_ASHA, _MEDIAN = AsyncHyperBandScheduler, MedianStoppingRule
AVAILABLE: dict[str, Callable[..., SchedulerPolicy]] = {
    "fifo": FIFOScheduler,
    "asha": _ASHA,
    "async_hyperband": _ASHA,
    "async_hyper_band": _ASHA,
    "asynchyperband": _ASHA,
    "median_stopping_rule": _MEDIAN,
    "median_stopping": _MEDIAN,
    "medianstopping": _MEDIAN,
    "medianstoppingrule": _MEDIAN,
}
NOT_YET = ("hyperband", "pbt", "pbt_replay", "pb2", "hb_bohb", "resource_changing")


def create_scheduler(scheduler: str, **kwargs: Any) -> SchedulerPolicy:
    """The scheduler of this name, made with ``kwargs``.

    ``metric`` and ``mode`` may be given to every scheduler; those that heed none drop them. Raises
    NotYetSupportedError for one that this version does not have, UsageError for an unknown name or keyword.
    """
    name = str(scheduler).lower()
    if name in NOT_YET:
        refuse(f"The scheduler {scheduler!r}")
    if name not in AVAILABLE:
        raise UsageError(f"There is no scheduler {scheduler!r}. Valid names: {', '.join((*AVAILABLE, *NOT_YET))}.")
    made = AVAILABLE[name]
    known = inspect.signature(made).parameters
    unknown = [key for key in kwargs if key not in (*known, "metric", "mode")]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise UsageError(f"The scheduler {scheduler!r} has no argument {unknown[0]!r}: {takes}.")
    return made(**{key: value for key, value in kwargs.items() if key in known})


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
    return made  # type: ignore[no-any-return]


_METHODS = ("on_trial_add", "on_trial_result", "on_trial_complete", "on_trial_error", "choose", "milestone")
