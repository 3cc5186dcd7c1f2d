"""How much each parameter matters to the metric.

The importance of a parameter is the share of the metric's variance that its own value explains: the first-order
sensitivity index, estimated from the trials as they are by splitting them into groups of like values (Plischke,
Borgonovo and Smith, 2013: Global sensitivity measures from given data). Two things make it sound for few trials with
wild values: ranks of the metric take the place of its values, so that one diverged trial does not decide everything;
and what groups explain by chance is taken off (epsilon squared; Kelley, 1935: An unbiased correlation ratio measure).

What only two parameters explain together counts for neither. Parameters that a searcher varied together share what
they explain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpctune.analysis.pictures.axes import Axis, axes_of, valued
from hpctune.analysis.pictures.trials import PlotData

if TYPE_CHECKING:
    import numpy as np

MIN_TRIALS = 6
"""With fewer trials that have a value, nothing is told."""
MAX_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Importance:
    """The share of the metric's variance that each parameter explains, from 0 to 1, the greatest first."""

    title: str
    metric: str
    trials: int
    shares: Sequence[tuple[str, float]]


def importance(data: PlotData, metric: str | None = None, params: Sequence[str] = ()) -> Importance:
    """The importance of ``params``, or of all parameters that vary."""
    metric = data.checked_metric(metric, "The importance of parameters")
    data.checked_params(params, "The importance of parameters")
    shown, values = valued(data, metric)
    if len(values) < MIN_TRIALS:
        return Importance(data.name, metric, len(values), [])
    ranks = _ranks(values)
    shares = [(a.name, _explained(_groups(a), ranks)) for a in axes_of(shown, params)]
    return Importance(data.name, metric, len(values), sorted(shares, key=lambda share: -share[1]))


def _ranks(values: Sequence[float]) -> np.ndarray[Any, Any]:
    """The rank of each value; equal values have their mean rank."""
    import numpy as np

    _, inverse, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means = last - (counts - 1) / 2
    return np.asarray(means[inverse], dtype=float)


def _groups(a: Axis) -> list[int]:
    """The group of each trial: its category, or a part of the numbers with as many trials as the others."""
    count = max(2, min(MAX_GROUPS, int(len(a.places) ** 0.5)))
    if a.categories is not None or len(set(a.places)) <= count:
        frequent = {place: n for n, (place, _) in enumerate(Counter(a.places).most_common(MAX_GROUPS - 1), 1)}
        return [frequent.get(place, 0) for place in a.places]
    order = sorted(p for p in a.places if p is not None)
    cuts = [order[n * len(order) // count] for n in range(1, count)]
    return [-1 if p is None else sum(p >= cut for cut in cuts) for p in a.places]


def _explained(groups: Sequence[int], ranks: np.ndarray[Any, Any]) -> float:
    """Epsilon squared: the share of the variance between groups, without what is there by chance."""
    import numpy as np

    label = np.array(groups)
    parts = [ranks[label == g] for g in set(groups)]
    free = len(ranks) - len(parts)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if len(parts) < 2 or free <= 0 or total == 0.0:
        return 0.0
    within = float(sum(((p - p.mean()) ** 2).sum() for p in parts))
    return max(0.0, (total - within - (len(parts) - 1) * within / free) / total)
