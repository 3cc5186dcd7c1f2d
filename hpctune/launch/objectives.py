"""What is optimized: one metric or several, and which of them scheduler and searcher use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.launch.options import RunOptions
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.schedulers.create import as_scheduler
from hpctune.search.base import SearchAlgorithm

Objectives = Sequence[tuple[str | None, str | None]]


def objectives_of(options: RunOptions, scheduler: SchedulerPolicy) -> Objectives:
    """What is optimized: as the options say, else as the scheduler or the searcher was told itself."""
    if options.metric is not None:
        return options.objectives
    for told in (scheduler, options.search_alg):
        metric, mode = getattr(told, "metric", None), getattr(told, "mode", None)
        if isinstance(metric, str) and mode in ("min", "max"):
            return ((metric, mode),)
        if isinstance(metric, (list, tuple)) and isinstance(mode, (list, tuple)):
            return tuple(zip(metric, mode, strict=True))
    return ((None, options.objectives[0][1]),)


def scheduler_for(given: Any, objectives: Objectives) -> SchedulerPolicy:
    """The scheduler. Of several metrics it uses its own, or the first one. Raises UsageError as ``as_scheduler``."""
    own = getattr(given, "metric", None)
    if len(objectives) > 1 and own is not None:
        mode = None if getattr(given, "mode", None) is not None else dict(objectives).get(own)
        return as_scheduler(given, None, mode)
    return as_scheduler(given, *objectives[0])


def note_on_scheduler(scheduler: SchedulerPolicy, objectives: Objectives) -> tuple[str, ...]:
    """A note on which of several metrics the scheduler uses."""
    metric = getattr(scheduler, "metric", None)
    if len(objectives) < 2 or metric is None:
        return ()
    name, names = type(scheduler).__name__, ", ".join(str(each) for each, _ in objectives)
    choose = f"To choose another one: {name}(metric=..., mode=...)."
    return (f"{name} compares trials by one metric: {metric}, of {names}. {choose}",)


def search_objective(algorithm: SearchAlgorithm, objectives: Objectives) -> tuple[Any, Any]:
    """The metric and mode that the searcher gets: all of them, if it takes several.

    Raises UsageError if there are several, and the searcher takes one only and was not told which.
    """
    searcher = algorithm
    while (inner := getattr(searcher, "searcher", None)) is not None:
        searcher = inner
    if len(objectives) == 1 or not hasattr(searcher, "metric"):  # random and grid search compare nothing
        return objectives[0]
    if getattr(searcher, "several_metrics", True):
        own = searcher.metric
        modes = dict(objectives)
        if isinstance(own, str):
            return own, modes.get(own, objectives[0][1])
        return [metric for metric, _ in objectives], [mode for _, mode in objectives]
    if searcher.metric is not None:
        return searcher.metric, dict(objectives).get(searcher.metric, objectives[0][1])
    name, names = type(searcher).__name__, ", ".join(str(each) for each, _ in objectives)
    raise UsageError(
        f"{name} optimizes one metric, and the experiment has several: {names}. Use OptunaSearch, which optimizes all, "
        f"or random or grid search; or tell {name} which one: {name}(metric={objectives[0][0]!r}, "
        f"mode={objectives[0][1]!r})."
    )
