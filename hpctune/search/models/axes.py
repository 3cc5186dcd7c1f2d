"""What the built-in models of searches work on: points on axes. They know no trials and no parameters.

A point is a row of floats: a position in [0, 1] on a continuous axis, the number of the option on a discrete one, NaN
on an axis that does not exist for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension. ``prior_probabilities``: those of the options of a discrete axis; empty on a continuous one.

    ``centers``: where in [0, 1] the options lie, if they have an order. ``parent`` and ``option``: the axis exists
    only for points that have this option on that axis, which comes before it.
    """

    prior_probabilities: tuple[float, ...] = ()
    centers: tuple[float, ...] = ()
    parent: int | None = None
    option: int = 0

    def quantile(self, shares: Array) -> Array:
        """The places on this axis below which these shares (0 to 1) of the prior lie."""
        import numpy as np

        if not self.prior_probabilities:
            return shares
        limits = np.cumsum(self.prior_probabilities)
        found: Array = np.minimum(np.searchsorted(limits, shares * limits[-1], side="right"), len(limits) - 1).astype(
            float
        )
        return found


def prune(axes: Sequence[Axis], points: Array) -> Array:
    """Put NaN where an axis does not exist for a point. Changes ``points`` and returns it."""
    for i, axis in enumerate(axes):
        if axis.parent is not None:
            points[points[:, axis.parent] != axis.option, i] = math.nan
    return points


def draw_prior(axes: Sequence[Axis], count: int, rng: np.random.Generator) -> Array:
    """Points drawn at random."""
    import numpy as np

    return prune(axes, np.column_stack([axis.quantile(rng.random(count)) for axis in axes]))


def draw_design(axes: Sequence[Axis], count: int, rng: np.random.Generator) -> Array:
    """Points drawn so that on each axis every ``1/count`` of the prior gets one (a Latin hypercube)."""
    import numpy as np

    shares = [(rng.permutation(count) + rng.random(count)) / count for _ in axes]
    return prune(axes, np.column_stack([axis.quantile(share) for axis, share in zip(axes, shares, strict=True)]))


def known_among(points: Array, *known: Array) -> NDArray[np.bool_]:
    """Which of the points are among the known ones."""
    import numpy as np

    seen = {row.tobytes() for rows in known for row in rows}
    return np.array([row.tobytes() in seen for row in points])


def normal_cdf(z: Array) -> Array:
    """The normal distribution below ``z``, by Abramowitz and Stegun's formula 7.1.26: within 2e-7."""
    import numpy as np

    x = np.abs(z) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * x)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = 1 - poly * np.exp(-x * x)
    return 0.5 * (1 + np.sign(z) * erf)
