"""Finds the best of several trials, for tables, status, lists and analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from hpctune.model.rows import number
from hpctune.model.trial import Trial

_T = TypeVar("_T")


def best(
    scored: Iterable[tuple[float | None, _T]], mode: str | None, *, finite: bool = True
) -> tuple[float, _T] | None:
    """The pair with the best value; of equal ones, the first. A value of None is skipped.

    ``mode``: "min", else greater is better. NaN and infinite values are skipped. With ``finite=False`` they are not
    skipped, and NaN is worse than any number.
    """
    sign = -1.0 if mode == "min" else 1.0
    found: tuple[float, _T] | None = None
    highest = -math.inf
    for value, item in scored:
        if value is None or (finite and not math.isfinite(value)):
            continue
        rank = -math.inf if math.isnan(value) else sign * value
        if found is None or rank > highest or (rank == highest and math.isnan(found[0]) and not math.isnan(value)):
            found, highest = (value, item), rank
    return found


def best_trial(trials: Iterable[Trial], metric: str | None, mode: str | None) -> tuple[float, Trial] | None:
    """The trial with the best last result, and that value; None if there is no metric or no finite value."""
    if metric is None:
        return None
    return best(((number(trial.last, metric), trial) for trial in trials), mode)


Objectives = Sequence[tuple[str, str]]
"""Metrics with their modes."""


def pareto_front(trials: Iterable[Trial], objectives: Objectives) -> list[Trial]:
    """The trials that no other trial beats, by their last results, in the order of the first objective. A trial without
    a finite value of each metric is not compared."""
    pairs = [(trial, values) for trial in trials if (values := values_of(trial, objectives)) is not None]
    chosen = front([values for _, values in pairs], [mode for _, mode in objectives])
    return [pairs[n][0] for n in chosen]


def values_of(trial: Trial, objectives: Objectives) -> tuple[float, ...] | None:
    """The last value of each metric; None if one is missing or not finite."""
    values = [number(trial.last, metric) for metric, _ in objectives]
    sound = tuple(value for value in values if value is not None and math.isfinite(value))
    return sound if len(sound) == len(values) else None


def front(points: Sequence[tuple[float, ...]], modes: Sequence[str]) -> list[int]:
    """The indexes of the points that no other point beats (is better in one coordinate and worse in none), the best in
    the first coordinate first. Equal points are all kept."""
    turned = [_turned(point, modes) for point in points]
    kept: list[int] = []
    for n in sorted(range(len(points)), key=lambda n: turned[n]):  # whoever beats a point comes before it
        rivals = kept[-1:] if len(modes) == 2 else kept  # of two coordinates the newest has the best second one
        if not any(_beats(turned[rival], turned[n]) for rival in rivals):
            kept.append(n)
    return kept


def improves(point: tuple[float, ...], known: Iterable[tuple[float, ...]], modes: Sequence[str]) -> bool:
    """Whether no point of ``known`` equals ``point`` or beats it."""
    mine = _turned(point, modes)
    return not any(mine == (its := _turned(other, modes)) or _beats(its, mine) for other in known)


def _turned(point: tuple[float, ...], modes: Sequence[str]) -> tuple[float, ...]:
    """The point, with signs that make smaller better in each coordinate."""
    return tuple(value if mode == "min" else -value for value, mode in zip(point, modes, strict=True))


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
