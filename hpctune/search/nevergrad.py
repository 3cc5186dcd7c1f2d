"""Search with Nevergrad: evolution strategies, swarms, and portfolios of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.axes import AxisSearcher, Kind
from hpctune.search.adapters.isolation import GlobalRandomness, quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.parameters import Layout, NamedValues
from hpctune.search.adapters.points import Evaluated

_ENDLESS = 100
"""The budget if none is known: without one, NGOpt fails."""


class NevergradSearch(AxisSearcher):
    """Asks a Nevergrad optimizer for configurations. A trial that failed counts as the worst so far.

    Args:
        optimizer: An optimizer class, its name, a configured optimizer, or an optimizer, which is not copied.
            None: NGOpt, which chooses one by the space and the budget.
        optimizer_kwargs: Arguments for an optimizer class. Unless they say otherwise, ``budget`` is ``num_samples``
            (100 if that has no end), and ``num_workers`` is 2, which stands for any number. An optimizer with
            ``num_workers=1`` gets one trial at a time: some of Nevergrad's would wait for its result for ever.
        space: hpctune domains; or a ``ng.p.Dict`` or ``ng.p.Instrumentation`` of named parameters; or, for an
            optimizer of one array, the list of the names of its numbers. None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.
        seed: For the optimizer that is made here; None: the experiment's.

    Raises:
        UsageError: if an argument is of the wrong kind.
        SearchSpaceError: if the space does not fit the optimizer.
        MissingPackageError: without the package nevergrad.
    """

    package = "nevergrad"
    extra = "nevergrad"

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        self._factory: Any = None
        self._optimizer: Any = None
        self._names: list[str] | None = None
        self._kwargs = dict(optimizer_kwargs or {})
        self._budget: int | None = None
        self._candidates: dict[str, Any] = {}
        self._choose(optimizer)
        if self._optimizer is not None:
            if self._kwargs:
                raise UsageError("optimizer_kwargs goes with an optimizer class; this optimizer has been made already.")
            if space is not None and not isinstance(space, (list, tuple)):
                raise SearchSpaceError("An optimizer has its space already: leave out space=, or list names in it.")
            self._names = None if space is None else list(space)
            space = self._optimizer.parametrization
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

    def _choose(self, optimizer: Any) -> None:
        base = self.library("optimization.base")
        if optimizer is None:
            optimizer = "NGOpt"
        if isinstance(optimizer, str):
            registry = self.library().optimizers.registry
            if optimizer not in registry:
                raise UsageError(
                    f"Nevergrad has no optimizer '{optimizer}'. Some that it has: NGOpt, OnePlusOne, DE, CMA."
                )
            optimizer = registry[optimizer]
        made = isinstance(optimizer, base.Optimizer)
        configured = isinstance(optimizer, base.ConfiguredOptimizer)
        if not (made or configured or (inspect.isclass(optimizer) and issubclass(optimizer, base.Optimizer))):
            raise UsageError(f"optimizer takes a Nevergrad optimizer, a class or a name of one, not {optimizer!r}.")
        if made:
            self._optimizer = optimizer
        else:
            self._factory = optimizer

    @classmethod
    def library(cls, submodule: str = "") -> Any:
        with quiet():  # it warns of packages that only its plots need
            return super().library(submodule)

    # -- the space --------------------------------------------------------------------------------------------

    def _take_native(self, space: Any) -> Layout:
        types = self.library().p
        self._native = space
        if self._names is not None:
            if not isinstance(space, types.Array) or space.dimension != len(self._names):
                raise SearchSpaceError(f"space= names {len(self._names)} numbers, but the optimizer has {space!r}.")
            return NamedValues(self._names)
        if isinstance(space, types.Instrumentation) and not space.args:
            return NamedValues(list(space.kwargs))
        if isinstance(space, types.Dict) and not isinstance(space, types.Instrumentation):
            return NamedValues(list(space.value))
        if isinstance(space, types.Parameter):
            raise SearchSpaceError(
                f"{space!r} does not name its parameters. Use ng.p.Dict or keywords of ng.p.Instrumentation."
            )
        return super()._take_native(space)

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        """Take over what the searcher has not been told, and the number of samples as budget."""
        samples = spec.get("num_samples")
        self._budget = samples if samples is not None and samples > 0 else None
        return super().set_search_properties(metric, mode, config, **spec)

    def _parametrization(self) -> Any:
        if not self._converts:
            return self._native
        types = self.library().p
        parameters: dict[str, Any] = {}
        for axis in self._axes:
            low, high = axis.low, axis.high
            if axis.kind is Kind.OPTION:
                parameters[axis.name] = types.Choice(list(range(int(high) + 1)))
                continue
            scale = types.Log(lower=low, upper=high) if axis.log else types.Scalar(lower=low, upper=high)
            parameters[axis.name] = scale.set_integer_casting() if axis.kind is Kind.WHOLE else scale
        return types.Dict(**parameters)

    def _start(self, seed: int | None) -> None:
        from numpy.random import RandomState

        self._random = GlobalRandomness(seed)
        if self._factory is None:
            return
        with self._random.use(), quiet():
            parametrization = self._parametrization()
            parametrization.random_state = RandomState(seed)
            alone = getattr(self._factory, "no_parallelization", False)
            defaults = {"budget": self._budget or _ENDLESS, "num_workers": 1 if alone else 2}
            self._optimizer = self._factory(parametrization, **{**defaults, **self._kwargs})

    # -- asking and telling -----------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> dict[str, Any] | None:
        if self._optimizer.num_workers == 1 and self._candidates:
            return None
        with self._random.use(), quiet():
            self._candidates[trial_id] = candidate = self._optimizer.ask()
        if self._names is not None:
            return self._values(dict(zip(self._names, candidate.value, strict=True)))
        return self._values(candidate.kwargs or candidate.value)

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        self._candidates.pop(trial_id, None)
        with self._random.use(), quiet():
            self._suggest(values)
            self._candidates[trial_id] = self._optimizer.ask()
        return values

    def _suggest(self, values: dict[str, Any]) -> None:
        """Make these values what the optimizer is going to suggest next."""
        coordinates = self._coordinates(values)
        if self._names is not None:
            self._optimizer.suggest([coordinates[name] for name in self._names])
        elif isinstance(self._optimizer.parametrization, self.library().p.Instrumentation):
            self._optimizer.suggest(**coordinates)
        else:
            self._optimizer.suggest(coordinates)

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        candidate = self._candidates.pop(trial_id)
        known = self._known(loss)
        with self._random.use(), quiet():  # it warns of infinity
            self._optimizer.tell(candidate, math.inf if known is None else known)

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        if loss is not None:
            self._adopt("", values)
            self._tell("", values, loss)
