"""Search with ZOOpt: sequential randomized coordinate shrinking, a method that classifies good and bad regions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.search.adapters.axes import AxisSearcher, Kind, plain
from hpctune.search.adapters.isolation import GlobalRandomness, quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.points import Evaluated

_PRECISION = 1e-12
"""Real numbers are rounded to this; the library demands something."""


class ZOOptSearch(AxisSearcher):
    """Asks ZOOpt for configurations.

    The first 4 to 22 of them, depending on the budget, are random; after those the next ones wait for all of them,
    and then ``parallel_num`` run at a time. A trial that failed counts as infinitely bad.

    Args:
        algo: "asracos" or "sracos", which are the same when asked for one configuration at a time.
        budget: How many configurations there will be, 3 or more; None: the experiment's ``num_samples``.
        dim_dict: hpctune domains; or dimensions in the library's format by name, such as
            ``{"x": (ValueType.CONTINUOUS, [0, 1], 1e-6)}``. None: the experiment's space.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first. They count among the random ones.
        parallel_num: How many trials run at a time after the random ones.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.
        seed: None: the experiment's.
        **kwargs: For ``zoopt.Parameter``, for example ``exploration_rate`` and ``uncertain_bits``.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: without the package zoopt.
    """

    package = "zoopt"
    native_by_name = True
    extra = "zoopt"
    has_log = False

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int = 1,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if str(algo).lower() not in ("asracos", "sracos"):
            raise UsageError(f"algo is 'asracos' or 'sracos', not {algo!r}.")
        if not isinstance(parallel_num, int) or parallel_num < 1:
            raise UsageError(f"parallel_num is a whole number from 1, not {parallel_num!r}.")
        self._budget, self._parallel, self._kwargs = budget, parallel_num, kwargs
        self._solutions: dict[str, Any] = {}
        super().__init__(dim_dict, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        """Take over what the searcher has not been told, and the number of samples as budget."""
        samples = spec.get("num_samples")
        if self._budget is None and samples is not None and samples > 0:
            self._budget = max(samples, 3)
        return super().set_search_properties(metric, mode, config, **spec)

    def _dimensions(self) -> dict[str, Any]:
        if not self._converts:
            return dict(self._native)
        types = self.library().ValueType
        return {
            axis.name: (types.CONTINUOUS, [axis.low, axis.high], _PRECISION)
            if axis.kind is Kind.REAL
            else (types.DISCRETE, [int(axis.low), int(axis.high)], axis.ordered)
            for axis in self._axes
        }

    def _start(self, seed: int | None) -> None:
        if self._budget is None or self._budget < 3:
            raise UsageError(
                f"ZOOptSearch needs to know how many trials there will be, 3 or more, but budget is {self._budget!r}. "
                "Give it budget=, or give the experiment num_samples=."
            )
        library = self.library()
        dimensions = self._dimensions()
        self._names = list(dimensions)
        self._random = GlobalRandomness(seed)
        dimension = library.Dimension2(list(dimensions.values()))
        self._precisions = list(self._globals().float_precisions)
        with quiet(also_stdout=True):
            self._optimizer = self.library("algos.opt_algorithms.racos.sracos").SRacosTune(
                dimension=dimension,
                parameter=library.Parameter(budget=self._budget, **self._kwargs),
                parallel_num=self._parallel,
            )

    def _globals(self) -> Any:
        """Where the library keeps the precisions of the dimensions that were made last."""
        return self.library("utils.zoo_global").gl

    def _ask(self, trial_id: str) -> dict[str, Any] | str | None:
        optimizer = self._optimizer
        random_ones = optimizer.get_parameters().get_train_size()
        if optimizer.init_num >= random_ones:
            if optimizer.complete_num < random_ones:
                return None
            # It would wait here for a completion that has been, if all random ones had ended before this call.
            optimizer.init_num, optimizer.semaphore = max(optimizer.init_num, random_ones + 1), 1
        live = optimizer.live_num
        with self._random.use(), quiet(also_stdout=True):
            self._globals().float_precisions = list(self._precisions)
            solution = optimizer.suggest()
        if solution == self.FINISHED or (solution is None and optimizer.live_num > live):
            optimizer.live_num = live
            return self.FINISHED  # every point has been tried
        if solution is None:
            return None
        self._solutions[trial_id] = solution
        return self._values(dict(zip(self._names, map(plain, solution.get_x()), strict=True)))

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        optimizer = self._optimizer
        if trial_id not in self._solutions:
            optimizer.init_num += 1
            optimizer.live_num += 1
        coordinates = self._coordinates(values)
        solution = optimizer.get_objective().construct_solution([coordinates[name] for name in self._names])
        if optimizer.complete_num < optimizer.get_parameters().get_train_size():
            optimizer._init_data.append(solution)
        self._solutions[trial_id] = solution
        return values

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        with quiet(also_stdout=True):
            self._optimizer.complete(self._solutions.pop(trial_id), math.inf if loss is None else loss)

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._adopt("", values)
        self._tell("", values, loss)
