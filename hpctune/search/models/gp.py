"""A Gaussian process over points and training time, and the point of which it expects most: Bayesian optimization.

Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global Optimization
1998: expected improvement. Snoek, Larochelle and Adams, NeurIPS 2012: the Matern 5/2 kernel with one length scale for
each axis. Klein et al., "Model-based Asynchronous Hyperparameter and Neural Architecture Search", arXiv:2003.10865:
training time as one more axis, so that trials that were stopped early are learned from. Ginsbourger et al., 2010: a
point under way counts as though it had done as predicted ("kriging believer").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpctune.search.models.axes import Axis, draw_prior, known_among, normal_cdf, prune

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpctune.search.models.axes import Array

_AT_MOST = 150
"""Observations that the process is made of: the cost of a suggestion grows with their cube."""
_FITTED_TO = 70
"""Observations that its length scales and noise are fitted to."""
_FIT_STEPS = 50
_JITTER = 1e-6
_STEPS = (0.1, 0.05, 0.02, 0.008)
"""How far, as a share of an axis, the search for the best point goes from those found so far, round by round."""


@dataclass(frozen=True, slots=True)
class Observations:
    """Losses at points after a time; ``times`` are from 0 to 1, where 1 is the longest training so far."""

    points: Array
    losses: Array
    times: Array

    def most(self, count: int) -> NDArray[np.int_]:
        """The numbers of so many at most: the best half of that, and as much of the rest, evenly."""
        import numpy as np

        order = np.lexsort((self.losses, -self.times, ~np.isfinite(self.losses)))
        if len(order) <= count:
            return order
        best, rest = order[: count // 2], order[count // 2 :]
        return np.append(best, rest[np.linspace(0, len(rest) - 1, count - len(best)).astype(int)])

    def thinned(self, count: int) -> Observations:
        """With so many at most, the best first."""
        kept = self.most(count)
        return Observations(self.points[kept], self.losses[kept], self.times[kept])


def propose(axes: Sequence[Axis], seen: Observations, pending: Array, rng: np.random.Generator) -> Array:
    """The next point: expected to improve most on the best one, if trained for the longest time."""
    import numpy as np

    kept = seen.thinned(_AT_MOST)
    timed = bool(np.ptp(kept.times) > 0)
    space = _Features(axes, timed)
    features, targets, few = space(kept.points, kept.times), _targets(kept.losses), kept.most(_FITTED_TO)
    fitted = GaussianProcess.fit(features[few], space.axis_of, targets[few], rng)
    process = GaussianProcess(features, targets, fitted.scales, fitted.noise)
    final = kept.times == kept.times.max()
    goal = float(process.predict(space(kept.points[final]))[0].min())
    if len(pending):
        process = process.condition_on_predictions(space(pending))

    def acquisition(points: Array) -> Array:
        mean, deviation = process.predict(space(points))
        expected = log_expected_improvement(mean, deviation, goal)
        return np.where(known_among(points, seen.points, pending), -np.inf, expected)

    near = np.repeat(kept.points[:5], 40, axis=0)
    points = np.vstack([draw_prior(axes, 300, rng), _moved(axes, near, 0.15, rng)])
    values = acquisition(points)
    for step in _STEPS:
        top = np.argsort(-values, kind="stable")[:12]
        moved = _moved(axes, np.repeat(points[top], 6, axis=0), step, rng)
        points, values = np.vstack([points[top], moved]), np.append(values[top], acquisition(moved))
    found: Array = points[int(np.argmax(values))]
    return found


class GaussianProcess:
    """A Gaussian process. ``scales``: the length scale of each feature; ``noise``: its variance, per signal's."""

    def __init__(self, features: Array, targets: Array, scales: Array, noise: float) -> None:
        import numpy as np

        self.scales, self.noise, self.targets, self.features = scales, noise, targets, features / scales
        kernel = _matern(self.features, self.features) + (noise + _JITTER) * np.eye(len(targets))
        self.whiten = np.linalg.inv(np.linalg.cholesky(kernel))
        white = self.whiten @ targets
        self.weights, self.variance = self.whiten.T @ white, (white @ white + 2) / (len(targets) + 2)

    @classmethod
    def fit(
        cls, features: Array, axis_of: NDArray[np.int_], targets: Array, rng: np.random.Generator
    ) -> GaussianProcess:
        """Fit length scales and noise: the most likely of some, each a step from the best before it.

        The prior of the scales grows with the number of axes (Hvarfner et al., ICML 2024).
        """
        import numpy as np

        count = int(axis_of.max()) + 1
        usual = np.append(np.full(count, math.log(0.4 * math.sqrt(count))), math.log(1e-3))
        spread = np.append(np.full(count, 1.2), 2.5)

        def unlikely(theta: Array) -> float:
            scaled = features / np.exp(theta[:-1])[axis_of]
            return negative_log_likelihood(scaled, targets, math.exp(theta[-1])) + 0.5 * float(
                (((theta - usual) / spread) ** 2).sum()
            )

        best, step = usual, 0.8
        least = unlikely(best)
        for _ in range(_FIT_STEPS):
            moves = rng.random(count + 1) < max(0.4, 2 / (count + 1))
            tried = best + step * moves * rng.standard_normal(count + 1)
            if (found := unlikely(tried)) < least:
                best, least, step = tried, found, min(1.2 * step, 1.5)
            else:
                step = max(0.93 * step, 0.15)
        return cls(features, targets, np.exp(best[:-1])[axis_of], math.exp(best[-1]))

    def condition_on_predictions(self, features: Array) -> GaussianProcess:
        """This process, had it seen what it predicts at these features."""
        import numpy as np

        known = np.vstack([self.features * self.scales, features])
        return GaussianProcess(known, np.append(self.targets, self.predict(features)[0]), self.scales, self.noise)

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at each row of features, without noise."""
        import numpy as np

        kernel = _matern(features / self.scales, self.features)
        left = 1 - ((kernel @ self.whiten.T) ** 2).sum(axis=1)
        return kernel @ self.weights, np.sqrt(np.maximum(left, 1e-10) * self.variance)


class _Features:
    """Makes points features: an ordered axis one number, a choice one for each option, and the time one at last.

    Where an axis does not exist for a point, a number is in the middle and a choice has no option.
    """

    def __init__(self, axes: Sequence[Axis], timed: bool) -> None:
        import numpy as np

        self._axes, self._timed = axes, timed
        sizes = [
            len(axis.prior_probabilities) if axis.prior_probabilities and not axis.centers else 1 for axis in axes
        ] + [1] * timed
        self.axis_of = np.repeat(np.arange(len(sizes)), sizes)

    def __call__(self, points: Array, times: Array | None = None) -> Array:
        import numpy as np

        columns = [_columns(axis, points[:, i]) for i, axis in enumerate(self._axes)]
        if self._timed:
            columns.append((np.ones(len(points)) if times is None else times)[:, None])
        return np.hstack(columns)


def _columns(axis: Axis, at: Array) -> Array:
    import numpy as np

    exists = ~np.isnan(at)
    if not axis.prior_probabilities:
        return np.where(exists, at, 0.5)[:, None]
    option = np.where(exists, at, 0).astype(int)
    if axis.centers:
        return np.where(exists, np.array(axis.centers)[option], 0.5)[:, None]
    found: Array = np.eye(len(axis.prior_probabilities))[option] * exists[:, None] * math.sqrt(0.5)
    return found


def _matern(a: Array, b: Array) -> Array:
    import numpy as np

    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    r = np.sqrt(5 * np.maximum(squared, 0))
    found: Array = (1 + r + r * r / 3) * np.exp(-r)
    return found


def negative_log_likelihood(features: Array, targets: Array, noise: float) -> float:
    """Minus the logarithm of the likelihood, with the most likely variance of the signal."""
    import numpy as np

    count = len(targets)
    extended = np.empty((count + 1, count + 1))  # its Cholesky factor holds the whitened targets in the last row
    extended[:count, :count] = _matern(features, features) + (noise + _JITTER) * np.eye(count)
    extended[count, :count] = extended[:count, count] = targets
    extended[count, count] = 1e12
    try:
        factor = np.linalg.cholesky(extended)
    except np.linalg.LinAlgError:
        return math.inf
    white = factor[count, :count]
    variance = (white @ white + 2) / (count + 2)
    return float(0.5 * count * math.log(variance) + np.log(np.diag(factor)[:count]).sum())


def _targets(losses: Array) -> Array:
    """Losses with mean 0 and deviation 1, those above the median drawn in: how bad the bad are matters little."""
    import numpy as np

    finite = np.isfinite(losses)
    known = np.where(finite, losses, losses[finite].max())
    known = known / (np.abs(known).max() or 1.0)
    median = np.median(known)
    scale = median - known.min()
    if scale > 0:
        known = np.where(known > median, median + scale * np.log1p(np.maximum(known - median, 0) / scale), known)
    found: Array = (known - known.mean()) / (known.std() or 1.0)
    return found


def log_expected_improvement(mean: Array, deviation: Array, goal: float) -> Array:
    """The logarithm of how far below ``goal`` a loss is expected to be, above it counting as 0."""
    import numpy as np

    u = (goal - mean) / deviation
    log_density = -0.5 * u * u - 0.5 * math.log(2 * math.pi)
    near = np.maximum(np.exp(log_density) + u * normal_cdf(u), 1e-300)
    far = log_density - 2 * np.log(np.maximum(-u, 1.0))
    return np.log(deviation) + np.where(u > -4, np.log(near), far)


def _moved(axes: Sequence[Axis], points: Array, step: float, rng: np.random.Generator) -> Array:
    """The points, each moved by about ``step`` along some of its axes."""
    import numpy as np

    moved, count = points.copy(), len(points)
    for i, axis in enumerate(axes):
        at, hit = moved[:, i], rng.random(count) < max(0.5, 1 / len(axes))
        anew = axis.quantile(rng.random(count))
        away = step * rng.standard_normal(count)
        if not axis.prior_probabilities:
            to = 1 - np.abs(1 - np.abs(at + away))  # reflected at 0 and 1
        elif axis.centers:
            size = np.maximum(1, np.round(np.abs(away) * len(axis.prior_probabilities)))
            to = np.clip(at + np.sign(away) * size, 0, len(axis.prior_probabilities) - 1)
        else:
            to, hit = anew, hit & (rng.random(count) < 0.3)
        moved[:, i] = np.where(np.isnan(at), anew, np.where(hit, to, at))
    return prune(axes, moved)
