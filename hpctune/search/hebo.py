"""Search with HEBO: heteroscedastic evolutionary Bayesian optimization."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import MissingPackageError, UsageError
from hpctune.search.adapters.axes import AxisSearcher, Kind, plain
from hpctune.search.adapters.isolation import GlobalRandomness, quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.parameters import Layout, NamedValues
from hpctune.search.adapters.points import Evaluated


class HEBOSearch(AxisSearcher):
    """Asks HEBO for configurations, in batches: the next batch is made when all trials of the last one have ended.

    A trial that failed counts as the worst so far.

    Args:
        space: hpctune domains, or a HEBO ``DesignSpace``. None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.
        random_state_seed: A seed; None: the experiment's.
        max_concurrent: The size of a batch. A ConcurrencyLimiter around the searcher sets it to its own limit.
        **kwargs: For ``hebo.optimizers.hebo.HEBO``, for example ``rand_sample`` and ``model_name``.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: without the package HEBO.
    """

    package = "hebo"
    extra = "hebo"

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        random_state_seed: int | None = None,
        max_concurrent: int = 8,
        **kwargs: Any,
    ) -> None:
        if not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise UsageError(f"max_concurrent is a whole number from 1, not {max_concurrent!r}.")
        self._batch, self._kwargs = max_concurrent, kwargs
        self._waiting: list[dict[str, Any]] = []
        self._full = False
        self._optimizer: Any = None
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, random_state_seed)

    @classmethod
    def library(cls, submodule: str = "") -> Any:
        try:
            with quiet():
                return super().library(submodule)
        except MissingPackageError as error:
            if sys.version_info < (3, 12):
                raise
            raise MissingPackageError(
                f"HEBOSearch cannot be had on Python {platform.python_version()}: HEBO needs a numpy before 1.25, of "
                'which there is none for Python 3.12 and later. Use Python 3.11, or AxSearch ("ax") or '
                'BayesOptSearch ("bayesopt").'
            ) from error

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Make this the size of a batch."""
        self._batch = max_concurrent
        return True

    def _take_native(self, space: Any) -> Layout:
        if not isinstance(space, self.library("design_space.design_space").DesignSpace):
            return super()._take_native(space)
        self._native = space
        return NamedValues(space.para_names)

    def _design(self) -> Any:
        if not self._converts:
            return self._native
        parameters: list[dict[str, Any]] = []
        for axis in self._axes:
            if axis.kind is Kind.OPTION:
                options = [str(number) for number in range(int(axis.high) + 1)]
                parameters.append({"name": axis.name, "type": "cat", "categories": options})
                continue
            kind = "pow" if axis.log else "num"
            if axis.kind is Kind.WHOLE:
                kind = "pow_int" if axis.log else "int"
            parameters.append({"name": axis.name, "type": kind, "lb": axis.low, "ub": axis.high})
        return self.library("design_space.design_space").DesignSpace().parse(parameters)

    def _start(self, seed: int | None) -> None:
        self._random = GlobalRandomness(seed, torch=True)
        kwargs = {"scramble_seed": seed, **self._kwargs}
        with self._random.use(), quiet():
            self._optimizer = self.library("optimizers.hebo").HEBO(space=self._design(), **kwargs)

    def _ask(self, trial_id: str) -> dict[str, Any] | None:
        if not self._pending:
            self._full = False
        if self._full or len(self._pending) >= self._batch:
            return None
        if not self._waiting:
            with self._random.use(), quiet(also_stdout=True):
                found = self._optimizer.suggest(n_suggestions=self._batch)
            self._waiting = [
                {str(name): plain(value) for name, value in row.items()} for row in found.to_dict("records")
            ]
        values = self._values(self._waiting.pop(0))
        self._full = len(self._pending) + 1 >= self._batch
        return values

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        known = self._known(loss)
        if known is None:
            return
        import numpy as np
        import pandas as pd

        coordinates = self._coordinates(values)
        if self._converts:
            options = {axis.name for axis in self._axes if axis.kind is Kind.OPTION}
            coordinates = {name: str(each) if name in options else each for name, each in coordinates.items()}
        with self._random.use(), quiet():
            self._optimizer.observe(pd.DataFrame([coordinates]), np.array([[known]]))

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._tell("", values, loss)
