"""The model of BOHB: two multivariate kernel densities, of good and of bad configurations.

After Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale" (ICML 2018), section
3.2 and algorithm 2. A point is a row of numbers: for a number its place from 0 to 1, for a choice the option's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    Points: TypeAlias = NDArray[np.float64]

_FLOOR = 1e-32
"""Stands for a density of 0 in the ratio of two."""


@dataclass(frozen=True, slots=True)
class Density:
    """A product of kernels around each of ``points``: Gaussian for numbers, Aitchison and Aitken's for choices.

    ``options``: for each column the number of options; 0 for a number. ``widths``: the bandwidth of each column.
    """

    points: Points
    options: Sequence[int]
    widths: Points

    @classmethod
    def fit(cls, points: Points, options: Sequence[int], min_bandwidth: float) -> Density:
        """Return the density with bandwidths by the rule for a normal distribution: 1.06 sd n^(-1/(4+d))."""
        import numpy as np

        count, dimensions = points.shape
        widths = 1.06 * points.std(axis=0) * count ** (-1.0 / (4 + dimensions))
        most = [(number - 1) / number if number else np.inf for number in options]
        return cls(points, options, np.minimum(np.maximum(widths, min_bandwidth), np.maximum(most, _FLOOR)))

    def at(self, where: Points) -> Points:
        """Return the density at each row of ``where``."""
        import numpy as np

        product = np.ones((len(where), len(self.points)))
        for column, (number, width) in enumerate(zip(self.options, self.widths, strict=True)):
            apart = where[:, column, None] - self.points[None, :, column]
            if number:
                product *= np.where(apart == 0, 1 - width, width / max(number - 1, 1))
            else:
                product *= np.exp(-0.5 * (apart / width) ** 2) / (width * np.sqrt(2 * np.pi))
        means: Points = product.mean(axis=1)
        return means

    def sample(self, count: int, factor: float, rng: Generator) -> Points:
        """Draw ``count`` points, each near one of the density's. ``factor`` widens the Gaussians; choices stay."""
        import numpy as np

        drawn = self.points[rng.integers(len(self.points), size=count)].copy()
        for column, (number, width) in enumerate(zip(self.options, self.widths, strict=True)):
            if number:
                leaves = rng.random(count) < width
                drawn[leaves, column] = rng.integers(number, size=int(leaves.sum()))
            else:
                drawn[:, column] = _within(drawn[:, column], width * factor, rng)
        assert np.isfinite(drawn).all()
        return drawn


def propose(good: Density, bad: Density, count: int, factor: float, rng: Generator) -> Points:
    """Return the one of ``count`` points drawn near good ones at which good over bad is largest."""
    import numpy as np

    drawn = good.sample(count, factor, rng)
    ratio = np.maximum(good.at(drawn), _FLOOR) / np.maximum(bad.at(drawn), _FLOOR)
    best: Points = drawn[int(np.argmax(ratio))]
    return best


def imputed(points: Points, options: Sequence[int], rng: Generator) -> Points:
    """Return the points with something in the place of NaN, where a parameter did not exist: a value of another point.

    Where no point has one, it is drawn at random.
    """
    import numpy as np

    whole = points.copy()
    for column, number in enumerate(options):
        gaps = np.isnan(whole[:, column])
        if not gaps.any():
            continue
        known = whole[~gaps, column]
        size = int(gaps.sum())
        if len(known):
            whole[gaps, column] = rng.choice(known, size=size)
        else:
            whole[gaps, column] = rng.integers(number, size=size) if number else rng.random(size)
    return whole


def _within(centres: Points, width: float, rng: Generator) -> Points:
    """Draw from a Gaussian around each centre, cut off at 0 and 1."""
    import numpy as np

    drawn = rng.normal(centres, width)
    while (outside := (drawn < 0) | (drawn > 1)).any():
        drawn[outside] = rng.normal(centres[outside], width)
    return np.asarray(drawn)
