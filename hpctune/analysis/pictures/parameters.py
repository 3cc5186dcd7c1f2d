"""Pictures of parameters: parallel coordinates, slices, and a surface over two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpctune.analysis.pictures.axes import Axis, axes_of, axis, valued
from hpctune.analysis.pictures.importance import importance
from hpctune.analysis.pictures.trials import PlotData, State
from hpctune.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

MAX_AXES = 20
"""Of more parameters that vary, and of which none are named, the most important are shown."""
GRID = 32
"""Points of a surface along each axis."""
MAX_SAMPLES = 2000
"""Trials that a surface is made of; of more trials, so many are taken at even distances."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Parallel coordinates: one line for each trial through its parameters to its metric, the last axis.

    ``left_out``: how many parameters that vary are not shown.
    """

    title: str
    trials: Sequence[str]
    axes: Sequence[Axis]
    values: Sequence[float]
    mode: str | None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Slices:
    """The metric against each parameter. ``left_out``: how many parameters that vary are not shown."""

    title: str
    metric: str
    trials: Sequence[str]
    axes: Sequence[Axis]
    values: Sequence[float]
    states: Sequence[State]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Surface:
    """The metric over two parameters. ``grid[row][column]``: at ``y.place`` and ``x.place`` of even units."""

    title: str
    metric: str
    trials: Sequence[str]
    x: Axis
    y: Axis
    values: Sequence[float]
    grid: Sequence[Sequence[float]]


def parallel(
    data: PlotData, metric: str | None = None, mode: str | None = None, params: Sequence[str] = ()
) -> Parallel:
    """Parallel coordinates of ``params``, or of all that vary."""
    what = "Parallel coordinates"
    metric = data.checked_metric(metric, what)
    data.checked_params(params, what)
    shown, values = valued(data, metric)
    axes, left_out = _chosen(shown, metric, params)
    how = data.known_mode(mode, metric)
    return Parallel(data.name, [t.label for t in shown.trials], [*axes, axis(metric, values)], values, how, left_out)


def slices(data: PlotData, metric: str | None = None, params: Sequence[str] = ()) -> Slices:
    """The metric against each of ``params``, or against all that vary."""
    what = "Slices"
    metric = data.checked_metric(metric, what)
    data.checked_params(params, what)
    shown, values = valued(data, metric)
    axes, left_out = _chosen(shown, metric, params)
    names, states = [t.label for t in shown.trials], [t.state for t in shown.trials]
    return Slices(data.name, metric, names, axes, values, states, left_out)


def _chosen(data: PlotData, metric: str, params: Sequence[str]) -> tuple[list[Axis], int]:
    """The axes of ``params``, or of the most important that vary; and how many of these are left out."""
    axes = axes_of(data, params)
    if params or len(axes) <= MAX_AXES:
        return axes, 0
    rank = {name: n for n, (name, _) in enumerate(importance(data, metric).shares)}
    first = sorted(axes, key=lambda a: rank.get(a.name, len(axes)))[:MAX_AXES]
    return [a for a in axes if a in first], len(axes) - MAX_AXES


def surface(data: PlotData, x: str, y: str, metric: str | None = None, size: int = GRID) -> Surface:
    """The metric over the parameters ``x`` and ``y``, of the trials that have both."""
    what = "A contour"
    metric = data.checked_metric(metric, what)
    data.checked_params([x, y], what)
    if x == y:
        raise UsageError(f"A contour needs two different parameters, not {x!r} twice.")
    shown, known = valued(data, metric)
    across, up = axes_of(shown, [x, y])
    both = [
        t for t, a, b in zip(shown.trials, across.places, up.places, strict=True) if a is not None and b is not None
    ]
    values = known
    if len(both) < len(shown.trials):
        shown, values = valued(replace(data, trials=both), metric)
        across, up = axes_of(shown, [x, y])
    grid = _shepard(across, up, values, size).tolist() if both else []
    return Surface(data.name, metric, [t.label for t in both], across, up, values, grid)


def _shepard(x: Axis, y: Axis, values: Sequence[float], size: int) -> np.ndarray[Any, Any]:
    """Values on a grid: the mean of all trials' values, weighted by the inverse of the distance to the power of four
    (Shepard, 1968: A two-dimensional interpolation function for irregularly-spaced data)."""
    import numpy as np

    every = max(1, math.ceil(len(values) / MAX_SAMPLES))
    at = np.array([[x.unit(a or 0.0), y.unit(b or 0.0)] for a, b in zip(x.places, y.places, strict=True)])[::every]
    known = np.array(values)[::every]
    line = np.linspace(0.0, 1.0, size)
    distance = (line[None, :, None] - at[:, 0]) ** 2 + (line[:, None, None] - at[:, 1]) ** 2
    weights = 1.0 / (distance + 1e-4) ** 2
    return np.asarray((weights @ known) / weights.sum(axis=2))
