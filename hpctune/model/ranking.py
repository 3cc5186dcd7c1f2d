"""Which of several trials is best: one answer for tables, status, lists and analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

from hpctune.model.metric_stats import as_number
from hpctune.model.rows import lookup
from hpctune.model.trial import Trial

_T = TypeVar("_T")


def best(
    scored: Iterable[tuple[float | None, _T]], mode: str | None, *, finite: bool = True
) -> tuple[float, _T] | None:
    """The pair with the best value; of equals the first. None stands for no value.

    ``mode``: "min", else greater is better. NaN and infinite values never are the best; without ``finite`` they may be,
    and NaN is worse than any number.
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
    """The trial whose last result is best, and that value; None without a metric or a finite value."""
    if metric is None:
        return None
    return best(((as_number(lookup(trial.last, metric)), trial) for trial in trials), mode)
