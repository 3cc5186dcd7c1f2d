"""Parameters and metrics as axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpctune.analysis.pictures.trials import PlotData
from hpctune.common.checks import is_number
from hpctune.common.text import clean, shorten

MAX_TEXT = 60
"""Characters of a value that is shown as text."""
LOG_FROM = 100.0
"""Positive numbers whose greatest is so many times the least are shown on a logarithmic scale."""


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


_MISSING = object()


def text_of(value: object) -> str:
    """A parameter's value as short text."""
    return shorten(clean(value if isinstance(value, str) else repr(value)), MAX_TEXT)


def axis(name: str, values: Sequence[Any], log: bool | None = None) -> Axis:
    """The axis of ``values``, one for each trial; ``_MISSING`` stands where a trial has none.

    ``log``: whether positive numbers are on a logarithmic scale. None: if the largest is at least ``LOG_FROM`` times
    the smallest.

    Numbers are numbers if all values are; else each different value is a category, numbers first.
    """
    given = [v for v in values if v is not _MISSING]
    if given and all(is_number(v) for v in given):
        places = [_finite(v) if v is not _MISSING else None for v in values]
        sound = [p for p in places if p is not None]
        positive = bool(sound) and min(sound) > 0
        wide = positive and max(sound) / min(sound) >= LOG_FROM
        return Axis(name, places, positive and (wide if log is None else log))
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


def axes_of(data: PlotData, names: Sequence[str] = ()) -> list[Axis]:
    """The axes of these parameters; without names of all that vary."""
    chosen = names or list({name: None for trial in data.trials for name in trial.params})
    axes = [
        axis(name, [t.params.get(name, _MISSING) for t in data.trials], data.log_scales.get(name)) for name in chosen
    ]
    return axes if names else [a for a in axes if a.varies]


def valued(data: PlotData, metric: str) -> tuple[PlotData, list[float]]:
    """The trials that have a value of ``metric``, and the values."""
    found = [(t, v) for t in data.trials if (v := t.last(metric)) is not None]
    return replace(data, trials=[t for t, _ in found]), [v for _, v in found]
