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


def notes_on_scheduler(
    scheduler: SchedulerPolicy, objectives: Objectives, algorithm: SearchAlgorithm
) -> tuple[str, ...]:
    """Notes on which of several metrics the scheduler uses, and on a searcher that it was not made for."""
    notes, name, searcher = [], type(scheduler).__name__, _innermost(algorithm)
    metric, made_for = getattr(scheduler, "metric", None), getattr(scheduler, "made_for", None)
    if len(objectives) > 1 and metric is not None:
        names = ", ".join(str(each) for each, _ in objectives)
        choose = f"To choose another one: {name}(metric=..., mode=...)."
        notes.append(f"{name} compares trials by one metric: {metric}, of {names}. {choose}")
    if made_for is not None and made_for not in {each.__name__ for each in type(searcher).__mro__}:
        notes.append(
            f"{name} is made for the searcher {made_for}, which learns from short trials. The searcher of this search "
            f"is {type(searcher).__name__}, so nothing learns from them. Use search_alg={made_for}(), or scheduler="
            f"HyperBandScheduler()."
        )
    return tuple(notes)


def _innermost(algorithm: SearchAlgorithm) -> Any:
    searcher: Any = algorithm
    while (inner := getattr(searcher, "searcher", None)) is not None:
        searcher = inner
    return searcher


def search_objective(algorithm: SearchAlgorithm, objectives: Objectives) -> tuple[Any, Any]:
    """The metric and mode that the searcher gets: all of them, if it takes several.

    Raises UsageError if there are several, and the searcher takes one only and was not told which.
    """
    searcher = _innermost(algorithm)
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
