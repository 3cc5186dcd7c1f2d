"""The model of PB2: a Gaussian process whose past fades, and the point that promises most. Needs scikit-learn.

Parker-Holder et al. 2020 (arXiv 2002.02518): a kernel with the factor ``(1 - epsilon) ** (dt / 2)``, after Bogunovic et
al., "Time-Varying Gaussian Process Bandit Optimization", AISTATS 2016; and an upper confidence bound whose variance
already knows of the points that others of the batch try (Desautels et al., JMLR 2014).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel, WhiteKernel
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from hpctune.schedulers.changes import Change

Array = NDArray[np.float64]

WINDOW = 200
"""So many of the newest changes are learned from: what is older has faded, and a fit stays quick."""
_CANDIDATES, _POLISHED = 512, 3
_STEPS = 15
"""Steps of each optimization: of the kernel's parameters, and of a candidate."""
_C1, _C2 = 0.2, 0.4
"""The weight of the uncertainty is the root of C1 + log(C2 * changes), as in the experiments of the papers."""
_TINY = 1e-8


class FadingKernel(Kernel):  # type: ignore[misc]
    """A squared exponential of all columns but the first, which is the time: less alike the farther apart in it."""

    def __init__(self, fading: float = 0.1, length: float = 1.0, variance: float = 1.0) -> None:
        self.fading, self.length, self.variance = fading, length, variance

    # Properties in the order of their names: that of the derivatives as well.

    @property
    def hyperparameter_fading(self) -> Any:
        return Hyperparameter("fading", "numeric", (1e-5, 0.5))

    @property
    def hyperparameter_length(self) -> Any:
        return Hyperparameter("length", "numeric", (1e-3, 1e3))

    @property
    def hyperparameter_variance(self) -> Any:
        return Hyperparameter("variance", "numeric", (1e-3, 1e3))

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        others = X if Y is None else Y
        apart = 0.5 * np.abs(X[:, None, 0] - others[None, :, 0])
        square = ((X[:, None, 1:] - others[None, :, 1:]) ** 2).sum(axis=2)
        kernel = self.variance * np.exp(-square / self.length) * (1 - self.fading) ** apart
        if not eval_gradient:
            return kernel
        faded = -kernel * apart * self.fading / (1 - self.fading)
        return kernel, np.dstack([faded, kernel * square / self.length, kernel])  # by the logarithms

    def diag(self, X: Array) -> Array:  # noqa: N803
        return np.full(len(X), self.variance)

    def is_stationary(self) -> bool:
        return True


def suggest(
    data: Sequence[Change],
    context: tuple[float, float],
    limits: Sequence[tuple[float, float]],
    batch: Sequence[tuple[float, ...]],
    seed: int,
) -> tuple[float, ...]:
    """The hyperparameters that promise most for a trial at ``context`` (time and score at its last interval).

    ``batch``: what others have just been given. The same arguments give the same point.
    """
    with threadpool_limits(1):  # matrices so small gain nothing by threads, and the result depends on their number
        return _suggest(data[-WINDOW:], context, limits, batch, seed)


def _suggest(
    newest: Sequence[Change],
    context: tuple[float, float],
    limits: Sequence[tuple[float, float]],
    batch: Sequence[tuple[float, ...]],
    seed: int,
) -> tuple[float, ...]:
    low, high = np.array(limits, dtype=float).T
    contexts = np.array([(c.time, c.before) for c in newest])
    floor, span = contexts.min(axis=0), np.ptp(contexts, axis=0) + _TINY
    values = (np.array([c.values for c in newest]) - low) / (high - low + _TINY)
    model = _fitted(np.hstack([(contexts - floor) / span, values]), np.array([c.rate for c in newest]))
    here = (np.array(context) - floor) / span
    best = _maximum(model, _informed(model, here, batch, low, high), here, len(limits), np.random.default_rng(seed))
    return tuple(float(v) for v in np.clip(low + best * (high - low), low, high))


def _fitted(points: Array, rates: Array) -> Any:
    """The model of the standardized rates; far outliers are cut off."""
    targets = np.clip((rates - rates.mean()) / (rates.std() + _TINY), -2, 2)
    kernel = FadingKernel() + WhiteKernel(0.1, (1e-5, 10.0))
    return _quietly(GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=_few_steps), points, targets)


def _few_steps(objective: Any, start: Array, bounds: Array) -> tuple[Array, float]:
    found = minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": _STEPS})
    return found.x, float(found.fun)


def _informed(model: Any, here: Array, batch: Sequence[tuple[float, ...]], low: Array, high: Array) -> Any:
    """The model that knows where the others of the batch are; the uncertainty does not depend on what they find."""
    if not batch:
        return model
    values = (np.array(batch) - low) / (high - low + _TINY)
    added = np.hstack([np.tile(here, (len(batch), 1)), values])
    targets = np.concatenate([model.y_train_, np.zeros(len(batch))])
    regressor = GaussianProcessRegressor(model.kernel_, alpha=1e-8, optimizer=None)
    return _quietly(regressor, np.vstack([model.X_train_, added]), targets)


def _quietly(regressor: Any, points: Array, targets: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few points leave the kernel's parameters open
        return regressor.fit(points, targets)


def _maximum(model: Any, informed: Any, here: Array, width: int, rng: np.random.Generator) -> Array:
    """The point of the unit cube with the greatest upper confidence bound."""
    weight = math.sqrt(_C1 + max(0.0, math.log(_C2 * len(model.X_train_))))

    def bound(points: Array) -> Array:
        rows = np.hstack([np.tile(here, (len(points), 1)), points])
        _, deviation = informed.predict(rows, return_std=True)
        return np.asarray(model.predict(rows) + weight * deviation)

    candidates = rng.uniform(size=(_CANDIDATES, width))
    starts = candidates[np.argsort(-bound(candidates), kind="stable")[:_POLISHED]]
    found = [
        minimize(
            lambda x: -float(bound(x[None, :])[0]),
            start,
            bounds=[(0, 1)] * width,
            method="L-BFGS-B",
            options={"maxiter": _STEPS},
        ).x
        for start in starts
    ]
    tried = np.vstack([starts, *found])
    best: Array = np.clip(tried[int(np.argmax(bound(tried)))], 0.0, 1.0)
    return best
