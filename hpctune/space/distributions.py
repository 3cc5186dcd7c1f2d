"""Distributions that Ray Tune's functions do not have."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Categorical
from hpctune.space.numeric import snap


def weighted_choice(categories: Iterable[Any], weights: Sequence[float]) -> Categorical:
    """Draw one of ``categories`` in proportion to its weight. Searchers that learn take all as equally likely."""
    return Categorical(categories).weighted(weights)


@dataclass(frozen=True)
class LogNormal:
    """For ``sample_from``: a number whose logarithm has the normal distribution; rounded to multiples of ``q``."""

    mu: float = 0.0
    sigma: float = 1.0
    q: float | None = None

    def __call__(self) -> float:
        return _rounded(random.lognormvariate(self.mu, self.sigma), self.q)


@dataclass(frozen=True)
class Beta:
    """For ``sample_from``: a number between 0 and 1 with the beta distribution; rounded to multiples of ``q``."""

    a: float = 1.0
    b: float = 1.0
    q: float | None = None

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0):
            raise SearchSpaceError(
                f"a and b of a beta distribution must be greater than 0, not {self.a!r}, {self.b!r}."
            )

    def __call__(self) -> float:
        return _rounded(random.betavariate(self.a, self.b), self.q)


def _rounded(value: float, q: float | None) -> float:
    if q is None:
        return value
    return round(value / q) * int(q) if float(q).is_integer() else snap(value, q)
