"""The tree-structured Parzen estimator as mathematics: points in, the next point out. It knows no trials.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011: good and bad points are each turned into
a density, and what is far more likely among the good ones comes next. Watanabe, "Tree-Structured Parzen Estimator:
Understanding Its Algorithm Components and Their Roles for Better Empirical Performance", arXiv:2304.11127 (2023), has
the parts: kernels over all axes at once (its "multivariate"), the prior as one more kernel, the least bandwidth
("magic clipping").

A kernel is as wide as the prior on an axis that does not exist for its point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpctune.search.models.axes import Axis, known_among, normal_cdf, prune

if TYPE_CHECKING:
    import numpy as np

    from hpctune.search.models.axes import Array


@dataclass(frozen=True, slots=True)
class TPEParameters:
    """What can be turned, with the values that did best on average over test functions and learning curves.

    ``gamma``: the share of points that counts as good, ``good_at_most`` of them. ``candidates``: how many points are
    drawn to choose from. ``width``: of a kernel around the first point, as a share of an axis; it shrinks with the
    number of points to no less than ``narrowest``. ``smoothing``: the share of a kernel that goes to all options of
    an axis without order. ``prior``: how many points the prior is worth.
    """

    gamma: float = 0.15
    good_at_most: int = 25
    candidates: int = 32
    width: float = 0.1
    narrowest: float = 0.03
    smoothing: float = 0.5
    prior: float = 1.0


SETTINGS = TPEParameters()


class Parzen:
    """A density: one kernel for each point, and the prior as one more."""

    def __init__(self, axes: Sequence[Axis], points: Array, weights: Array, settings: TPEParameters) -> None:
        import numpy as np

        self.axes, self.count = axes, len(points)
        self.points = np.vstack([points, np.full((1, len(axes)), np.nan)])
        total = np.append(weights, settings.prior * (weights.mean() if len(weights) else 1.0))
        self.shares = total / total.sum()
        self.kernels = [
            _kernel(axis, self.points[:, i], self.count, len(axes), settings) for i, axis in enumerate(axes)
        ]

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Draw points; each axis that does not exist for one is NaN."""
        import numpy as np

        chosen = rng.choice(len(self.shares), size=count, p=self.shares)
        columns = [kernel.sample(chosen, rng) for kernel in self.kernels]
        return prune(self.axes, np.column_stack(columns))

    def log_density(self, points: Array) -> Array:
        """The logarithm of the density at each point."""
        import numpy as np

        total = np.log(self.shares)[None, :].repeat(len(points), axis=0)
        for i, kernel in enumerate(self.kernels):
            here = ~np.isnan(points[:, i])
            if here.all():
                total += kernel.log_density(points[:, i])
            elif here.any():
                total[here] += kernel.log_density(points[here, i])
        top = total.max(axis=1)
        found: Array = top + np.log(np.exp(total - top[:, None]).sum(axis=1))
        return found


def _kernel(axis: Axis, at: Array, count: int, dimensions: int, settings: TPEParameters) -> Any:
    import numpy as np

    width = max(settings.width * max(count, 1) ** (-1 / (dimensions + 4)), settings.narrowest)
    if not axis.prior_probabilities:
        return TruncatedNormalKernel(at, width)
    prior_probabilities = np.array(axis.prior_probabilities)
    if axis.centers:
        centers = np.array(axis.centers)
        table = prior_probabilities * np.exp(-(((centers[:, None] - centers) / width) ** 2) / 2)
    else:
        share = settings.smoothing
        table = (1 - share) * np.eye(len(prior_probabilities)) + share * prior_probabilities
    return CategoricalKernel(at, prior_probabilities, table / table.sum(axis=1, keepdims=True))


class TruncatedNormalKernel:
    """Gaussians of one width, cut off at 0 and 1; flat for points that have no position."""

    def __init__(self, at: Array, width: float) -> None:
        import numpy as np

        self.flat = np.isnan(at)
        self.at, self.width = np.where(self.flat, 0.5, at), width
        inside = normal_cdf((1 - self.at) / width) - normal_cdf(-self.at / width)
        self.log_scale = np.where(self.flat, 0.0, -np.log(width * math.sqrt(2 * math.pi) * inside))
        self.sharpness = np.where(self.flat, 0.0, 0.5 / width**2)

    def sample(self, chosen: Array, rng: np.random.Generator) -> Array:
        import numpy as np

        drawn = self.at[chosen] + self.width * rng.standard_normal(len(chosen))
        uniform = rng.random(len(chosen))
        drawn = np.where(self.flat[chosen], uniform, drawn)
        for _ in range(8):
            outside = (drawn < 0) | (drawn > 1)
            if not outside.any():
                return drawn
            again = self.at[chosen] + self.width * rng.standard_normal(len(chosen))
            drawn = np.where(outside, again, drawn)
        return np.clip(drawn, 0.0, 1.0)

    def log_density(self, x: Array) -> Array:
        away = x[:, None] - self.at
        return self.log_scale - self.sharpness * away * away


class CategoricalKernel:
    """A row of chances for each option that a point can have; the prior for points that have none."""

    def __init__(self, at: Array, prior_probabilities: Array, table: Array) -> None:
        import numpy as np

        rows = np.vstack([table, prior_probabilities])
        self.row = np.where(np.isnan(at), len(prior_probabilities), at).astype(int)
        self.cumulated, self.logs = np.cumsum(rows, axis=1), np.log(rows)

    def sample(self, chosen: Array, rng: np.random.Generator) -> Array:
        import numpy as np

        limits = self.cumulated[self.row[chosen]]
        drawn = (rng.random(len(chosen))[:, None] * limits[:, -1:] >= limits).sum(axis=1)
        found: Array = np.minimum(drawn, limits.shape[1] - 1).astype(float)
        return found

    def log_density(self, x: Array) -> Array:
        found: Array = self.logs.T[x.astype(int)][:, self.row]
        return found


def propose(
    axes: Sequence[Axis],
    points: Array,
    losses: Array,
    pending: Array,
    settings: TPEParameters,
    rng: np.random.Generator,
) -> Array:
    """The next point, given points with their losses (less is better) and points still under way, which count as bad.

    The best point weighs most among the good (Watanabe's "expected improvement" weights). Of the points drawn, none
    that was tried is chosen if there is another.
    """
    import numpy as np

    order = np.argsort(losses, kind="stable")
    count = max(1, min(math.ceil(settings.gamma * len(losses)), settings.good_at_most))
    good, bad = order[:count], order[count:]
    better = Parzen(axes, points[good], _weights(losses[good], losses[bad]), settings)
    rest = np.vstack([points[bad], pending])
    worse = Parzen(axes, rest, np.ones(len(rest)), settings)
    drawn = better.sample(settings.candidates, rng)
    gain = better.log_density(drawn) - worse.log_density(drawn)
    found: Array = drawn[int(np.argmax(gain - 1e6 * known_among(drawn, points, pending)))]
    return found


def _weights(good: Array, bad: Array) -> Array:
    """By how much each good loss is below the best bad one; none is nothing. Their mean is about 1."""
    import numpy as np

    edge = bad[0] if len(bad) and np.isfinite(bad[0]) else good.max()
    below = edge - good
    if not np.isfinite(below).all() or not below.sum() > 0:
        return np.ones(len(good))
    found: Array = np.maximum(below / below.mean(), 0.01)
    return found
