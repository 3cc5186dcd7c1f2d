"""Schedulers by name."""

from __future__ import annotations

from typing import Any

from hpctune.errors import UsageError
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.schedulers.later import refuse

AVAILABLE = ("fifo",)
NOT_YET = (
    "async_hyperband",
    "asynchyperband",
    "asha",
    "hyperband",
    "median_stopping",
    "median_stopping_rule",
    "medianstopping",
    "medianstoppingrule",
    "pbt",
    "pbt_replay",
    "pb2",
    "hb_bohb",
    "resource_changing",
)


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
    unknown = [key for key in kwargs if key not in ("metric", "mode")]
    if unknown:
        raise UsageError(f"The scheduler {scheduler!r} has no argument {unknown[0]!r}: it takes none.")
    return FIFOScheduler()


def as_scheduler(scheduler: object, metric: str | None, mode: str | None) -> SchedulerPolicy:
    """What a user gave as ``scheduler``, ready for the engine; None is first come, first served.

    One that optimizes something and was not told what gets ``metric`` and ``mode``. Raises UsageError when it is no
    scheduler, or was told already.
    """
    if scheduler is None:
        return FIFOScheduler()
    made = create_scheduler(scheduler) if isinstance(scheduler, str) else scheduler
    lacks = [name for name in _METHODS if not callable(getattr(made, name, None))]
    if lacks or isinstance(made, type):
        raise UsageError(
            f"scheduler= takes an instance of a scheduler of hpctune.schedulers, or a name, not {scheduler!r}."
        )
    tell = getattr(made, "set_search_properties", None)
    if tell is not None and (metric or mode) and not tell(metric, mode):
        raise UsageError(
            f"{type(made).__name__} has a metric and mode of its own, and the experiment has metric={metric!r} and "
            f"mode={mode!r}. Give them to one of the two."
        )
    return made  # type: ignore[return-value]


_METHODS = ("on_trial_add", "on_trial_result", "on_trial_complete", "on_trial_error", "choose", "milestone")
