"""Finds the best of several trials, for tables, status, lists and analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable
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
