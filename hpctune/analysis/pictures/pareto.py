"""The Pareto front of two metrics: the trials that no other trial beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpctune.analysis.pictures.trials import PlotData
from hpctune.common.checks import check_mode
from hpctune.errors import UsageError
from hpctune.model import ranking


@dataclass(frozen=True, slots=True)
class Pareto:
    """The trials by two metrics. ``front``: the indexes of those that no other beats, in the order of the first one."""

    title: str
    metrics: tuple[str, str]
    modes: tuple[str, str]
    trials: Sequence[str]
    points: Sequence[tuple[float, float]]
    front: Sequence[int]


def pareto(data: PlotData, metrics: Sequence[str], modes: Sequence[str | None] = ()) -> Pareto:
    """The Pareto front of two metrics. ``modes``: of each; the experiment's own metric needs none."""
    if len(metrics) != 2 or metrics[0] == metrics[1]:
        raise UsageError(f"A Pareto front needs two different metrics, not {', '.join(metrics) or 'none'}.")
    if modes and len(modes) != 2:
        raise UsageError(f"A Pareto front needs a mode for each of its two metrics, not {len(modes)}.")
    what = "A Pareto front"
    first, second = (data.checked_metric(m, what) for m in metrics)
    how = [data.checked_mode(d, m, what) for m, d in zip(metrics, modes or (None, None), strict=True)]
    found = [(t, a, b) for t in data.trials if None not in ((a := t.last(first)), (b := t.last(second)))]
    points = [(a, b) for _, a, b in found if a is not None and b is not None]
    return Pareto(
        data.name, (first, second), (how[0], how[1]), [t.label for t, _, _ in found], points, front(points, how)
    )


def front(points: Sequence[tuple[float, float]], modes: Sequence[str]) -> list[int]:
    """The indexes of the points that no other point beats, in the order of the first coordinate."""
    for mode in modes:
        check_mode(mode)
    return sorted(ranking.front(points, modes), key=lambda n: points[n])
