"""Parameters as axes: parallel coordinates, slices, and a surface over two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpctune.analysis.pictures.trials import PlotData, State
from hpctune.common.checks import is_number
from hpctune.common.text import clean, shorten
from hpctune.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

MAX_TEXT = 60
"""Characters of a value that is shown as text."""
LOG_FROM = 100.0
"""Positive numbers whose greatest is so many times the least are shown on a logarithmic scale."""
GRID = 32
"""Points of a surface along each axis."""
MOST_SAMPLES = 2000
"""Trials that a surface is made of; of more trials, so many are taken at even distances."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter or a metric as an axis.

    ``places``: where each trial lies: a number, or, if there are ``categories``, the index of one. None: the trial has
    no such value, or one that no axis has a place for (NaN and infinity among numbers).
    """

    name: str
    places: Sequence[float | None]
    log: bool = False
    categories: Sequence[str] | None = None
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", min((p for p in self.places if p is not None), default=0.0))
        object.__setattr__(self, "high", max((p for p in self.places if p is not None), default=1.0))

    @property
    def varies(self) -> bool:
        """Whether trials differ in it."""
        return len(set(self.places) - {None}) > 1 or (None in self.places and any(p is not None for p in self.places))

    def unit(self, place: float) -> float:
        """``place`` as a number from 0 to 1."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        at = math.log10(place) if self.log else place
        return (at - low) / (high - low) if high > low else 0.5

    def place(self, unit: float) -> float:
        """The inverse of :meth:`unit`."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return float(10 ** (low + unit * (high - low)))
        return self.low + unit * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Parallel:
    """Parallel coordinates: one line for each trial through its parameters to its metric, the last axis."""

    title: str
    trials: Sequence[str]
    axes: Sequence[Axis]
    values: Sequence[float]
    mode: str | None


@dataclass(frozen=True, slots=True)
class Slices:
    """The metric against each parameter."""

    title: str
    metric: str
    trials: Sequence[str]
    axes: Sequence[Axis]
    values: Sequence[float]
    states: Sequence[State]


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


_MISSING = object()


def text_of(value: object) -> str:
    """A parameter's value as short text."""
    return shorten(clean(value if isinstance(value, str) else repr(value)), MAX_TEXT)


def axis(name: str, values: Sequence[Any]) -> Axis:
    """The axis of ``values``, one for each trial; ``_MISSING`` stands where a trial has none.

    Numbers are numbers if all values are; else each different value is a category, numbers first.
    """
    given = [v for v in values if v is not _MISSING]
    if given and all(is_number(v) for v in given):
        places = [_finite(v) if v is not _MISSING else None for v in values]
        sound = [p for p in places if p is not None]
        log = bool(sound) and min(sound) > 0 and max(sound) / min(sound) >= LOG_FROM
        return Axis(name, places, log)
    texts = [text_of(v) if v is not _MISSING else None for v in values]
    order: dict[str, tuple[bool, float, str]] = {}
    for value, text in zip(values, texts, strict=True):
        if text is not None:
            finite = _finite(value) if is_number(value) else None
            order.setdefault(text, (finite is None, finite or 0.0, text))
    names = sorted(order, key=lambda text: order[text])
    index = {text: float(n) for n, text in enumerate(names)}
    return Axis(name, [index[t] if t is not None else None for t in texts], categories=names)


def _finite(value: float) -> float | None:
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def axes_of(data: PlotData, names: Sequence[str] = (), what: str = "The picture") -> list[Axis]:
    """The axes of these parameters; without names of all that vary."""
    data.checked_params(names, what)
    chosen = names or list({name: None for trial in data.trials for name in trial.params})
    axes = [axis(name, [t.params.get(name, _MISSING) for t in data.trials]) for name in chosen]
    return axes if names else [a for a in axes if a.varies]


def valued(data: PlotData, metric: str) -> tuple[PlotData, list[float]]:
    """The trials that have a value of ``metric``, and the values."""
    found = [(t, v) for t in data.trials if (v := t.last(metric)) is not None]
    only = PlotData(data.name, [t for t, _ in found], data.metric, data.mode, data.began_at, data.own_metrics)
    return only, [v for _, v in found]


def parallel(
    data: PlotData, metric: str | None = None, mode: str | None = None, params: Sequence[str] = ()
) -> Parallel:
    """Parallel coordinates of ``params``, or of all that vary."""
    what = "Parallel coordinates"
    metric = data.checked_metric(metric, what)
    data.checked_params(params, what)
    shown, values = valued(data, metric)
    axes = [*axes_of(shown, params if values else (), what), axis(metric, values)]
    how = mode or (data.mode if metric == data.metric else None)
    return Parallel(data.name, [t.label for t in shown.trials], axes, values, how)


def slices(data: PlotData, metric: str | None = None, params: Sequence[str] = ()) -> Slices:
    """The metric against each of ``params``, or against all that vary."""
    what = "Slices"
    metric = data.checked_metric(metric, what)
    data.checked_params(params, what)
    shown, values = valued(data, metric)
    axes = axes_of(shown, params if values else (), what)
    return Slices(data.name, metric, [t.label for t in shown.trials], axes, values, [t.state for t in shown.trials])


def surface(data: PlotData, x: str, y: str, metric: str | None = None, size: int = GRID) -> Surface:
    """The metric over the parameters ``x`` and ``y``, of the trials that have both."""
    what = "A contour"
    metric = data.checked_metric(metric, what)
    data.checked_params([x, y], what)
    if x == y:
        raise UsageError(f"A contour needs two different parameters, not {x!r} twice.")
    shown, _ = valued(data, metric)
    across, up = axes_of(shown, [x, y], what) if shown.trials else (Axis(x, []), Axis(y, []))
    both = [
        t for t, a, b in zip(shown.trials, across.places, up.places, strict=True) if a is not None and b is not None
    ]
    shown, values = valued(PlotData(data.name, both, data.metric, data.mode), metric)
    across, up = axes_of(shown, [x, y], what) if both else (Axis(x, []), Axis(y, []))
    grid = _shepard(across, up, values, size).tolist() if both else []
    return Surface(data.name, metric, [t.label for t in both], across, up, values, grid)


def _shepard(x: Axis, y: Axis, values: Sequence[float], size: int) -> np.ndarray[Any, Any]:
    """Values on a grid: the mean of all trials' values, weighted by the inverse of the distance to the power of four
    (Shepard, 1968: A two-dimensional interpolation function for irregularly-spaced data)."""
    import numpy as np

    every = max(1, math.ceil(len(values) / MOST_SAMPLES))
    at = np.array([[x.unit(a or 0.0), y.unit(b or 0.0)] for a, b in zip(x.places, y.places, strict=True)])[::every]
    known = np.array(values)[::every]
    line = np.linspace(0.0, 1.0, size)
    distance = (line[None, :, None] - at[:, 0]) ** 2 + (line[:, None, None] - at[:, 1]) ** 2
    weights = 1.0 / (distance + 1e-4) ** 2
    return np.asarray((weights @ known) / weights.sum(axis=2))
