"""Search with scikit-optimize: Gaussian processes, forests or boosted trees, and an acquisition function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.axes import AxisSearcher, Kind, plain
from hpctune.search.adapters.isolation import quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.parameters import Layout, NamedValues
from hpctune.search.adapters.points import Evaluated
from hpctune.space import flatten_dict


class SkOptSearch(AxisSearcher):
    """Asks a scikit-optimize ``Optimizer`` for configurations.

    The optimizer knows what has ended only, and suggests the same point until something has: the same suggestions
    that come meanwhile are replaced by random ones. A trial that failed counts as the worst so far.

    Args:
        optimizer: A ``skopt.Optimizer``; None: one with a Gaussian process. It is not copied.
        space: hpctune domains; or skopt dimensions (or tuples of bounds, or lists of options) by name; or, with an
            optimizer, the list of names of its dimensions. None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.
        seed: For the optimizer that is made here; None: the experiment's.

    Raises:
        UsageError: if an argument is of the wrong kind.
        SearchSpaceError: if the space does not fit the optimizer.
        MissingPackageError: without the package scikit-optimize.
    """

    package = "skopt"
    extra = "skopt"

    def __init__(
        self,
        optimizer: Any = None,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        if optimizer is not None and not isinstance(optimizer, self.library().Optimizer):
            raise UsageError(f"optimizer takes a skopt.Optimizer, not {optimizer!r}.")
        if optimizer is not None and not isinstance(space, (list, tuple)):
            raise SearchSpaceError("With optimizer=, space= must list the names of its dimensions, in their order.")
        self._optimizer: Any = optimizer
        super().__init__(
            space,
            metric,
            mode,
            points_to_evaluate,
            evaluated_rewards,
            seed,
            max_concurrent,
            use_early_stopped_trials,
        )

    def _take_native(self, space: Any) -> Layout:
        if self._optimizer is not None:
            if len(space) != len(self._optimizer.space.dimensions):
                raise SearchSpaceError(
                    f"space= names {len(space)} dimensions, and the optimizer has "
                    f"{len(self._optimizer.space.dimensions)}."
                )
            self._native = dict(zip(space, self._optimizer.space.dimensions, strict=True))
        elif isinstance(space, Mapping):
            self._native = flatten_dict(space)
        else:
            return super()._take_native(space)
        return NamedValues(self._native)

    def _dimensions(self) -> dict[str, Any]:
        if not self._converts:
            return dict(self._native)
        library = self.library("space")
        dimensions: dict[str, Any] = {}
        for axis in self._axes:
            prior = "log-uniform" if axis.log else "uniform"
            if axis.kind is Kind.REAL:
                dimensions[axis.name] = library.Real(axis.low, axis.high, prior=prior)
            elif axis.kind is Kind.WHOLE:
                dimensions[axis.name] = library.Integer(int(axis.low), int(axis.high), prior=prior)
            else:
                dimensions[axis.name] = library.Categorical([str(number) for number in range(int(axis.high) + 1)])
        return dimensions

    def _start(self, seed: int | None) -> None:
        dimensions = self._dimensions()
        self._names = list(dimensions)
        if self._optimizer is None:
            self._optimizer = self.library().Optimizer(list(dimensions.values()), random_state=seed)

    def _ask(self, trial_id: str) -> dict[str, Any]:
        under_way = [self._point(values) for values in self._pending.values()]
        with quiet():
            point = self._optimizer.ask()
            if [plain(each) for each in point] in under_way:
                point = self._optimizer.space.rvs(random_state=self._optimizer.rng)[0]
        return self._values(dict(zip(self._names, map(plain, point), strict=True)))

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        known = self._known(loss)
        if known is not None:
            with quiet():
                self._optimizer.tell(self._point(values), known)

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._tell("", values, loss)

    def _point(self, values: Mapping[str, Any]) -> list[Any]:
        """Values as the optimizer takes them."""
        coordinates = self._coordinates(values)
        if self._converts:
            options = {axis.name for axis in self._axes if axis.kind is Kind.OPTION}
            coordinates = {name: str(each) if name in options else each for name, each in coordinates.items()}
        return [coordinates[name] for name in self._names]
