"""The best value so far, and learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpctune.analysis.pictures.trials import PlotData, PlotTrial, State
from hpctune.common.checks import check_choice
from hpctune.model.rows import number

STEP = "training_iteration"
MAX_POINTS = 500
"""Of one learning curve; of longer ones the least and the greatest value of each stretch are shown."""
BY = ("trials", "time")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A trial's last value, and the best of all trials up to it. ``x``: how many trials, or hours, that was."""

    x: float
    value: float
    best: float
    trial: str


@dataclass(frozen=True, slots=True)
class History:
    """The best value so far, in the order in which the trials ended."""

    title: str
    metric: str
    mode: str
    by: str
    points: Sequence[HistoryPoint]


@dataclass(frozen=True, slots=True)
class Curve:
    """The values of one trial, by iteration."""

    trial: str
    state: State
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Curves:
    """Learning curves of all trials. ``best``: the trial with the best last value, if that is known."""

    title: str
    metric: str
    step: str
    curves: Sequence[Curve]
    best: str | None


def history(data: PlotData, metric: str | None = None, mode: str | None = None, by: str = "trials") -> History:
    """The best value so far over the number of trials, or over the hours since the experiment began."""
    what = "The history"
    check_choice("by", by, BY)
    metric = data.checked_metric(metric, what)
    mode = data.checked_mode(mode, metric, what)
    better = min if mode == "min" else max
    valued = [(t, v) for t in sorted(data.trials, key=lambda t: t.at) if (v := t.last(metric)) is not None]
    points: list[HistoryPoint] = []
    for place, (trial, value) in enumerate(valued, 1):
        best = better(points[-1].best, value) if points else value
        x = float(place) if by == "trials" else max(trial.at - data.began_at, 0.0) / 3600
        points.append(HistoryPoint(x, value, best, trial.label))
    return History(data.name, metric, mode, by, points)


def learning_curves(
    data: PlotData, metric: str | None = None, mode: str | None = None, step: str = STEP, most: int = MAX_POINTS
) -> Curves:
    """The values of every trial over ``step``. Values that are not finite leave a gap. At most ``most`` points each.

    Raises MetricError if no result has ``metric``, or none has ``step``.
    """
    metric = data.checked_metric(metric, "Learning curves")
    if step != STEP:
        data.checked_metric(step, "Learning curves")
    curves = [Curve(t.label, t.state, thinned(_points(t, metric, step), most)) for t in data.trials]
    best = best_of(data, metric, data.known_mode(mode, metric))
    return Curves(data.name, metric, step, [c for c in curves if c.points], best.label if best is not None else None)


def best_of(data: PlotData, metric: str, mode: str | None) -> PlotTrial | None:
    """The trial with the best last value; None without a mode or a value."""
    if mode is None:
        return None
    sign = 1.0 if mode == "min" else -1.0
    valued = [(sign * v, n) for n, t in enumerate(data.trials) if (v := t.last(metric)) is not None]
    return data.trials[min(valued)[1]] if valued else None


def _points(trial: PlotTrial, metric: str, step: str) -> list[Point]:
    found = []
    for place, row in enumerate(trial.rows, 1):
        value, at = number(row, metric), number(row, step)
        if value is not None and math.isfinite(value):
            found.append((at if at is not None and math.isfinite(at) else float(place), value))
    return found


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most ``most`` of ``points``: the first, the last, and the least and greatest value of each stretch between."""
    if len(points) <= most or most < 4:
        return list(points) if len(points) <= most else [points[0], points[-1]]
    stretches = (most - 2) // 2
    inner, kept = points[1:-1], [points[0]]
    for n in range(stretches):
        part = inner[n * len(inner) // stretches : (n + 1) * len(inner) // stretches]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return [*kept, points[-1]]
