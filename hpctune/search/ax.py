"""Search with Ax: Bayesian optimization with BoTorch, also under constraints."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.model.rows import lookup
from hpctune.search.adapters.axes import Axis, AxisSearcher, Kind, plain
from hpctune.search.adapters.isolation import GlobalRandomness, quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.parameters import Layout, NamedValues
from hpctune.search.adapters.points import Evaluated


class AxSearch(AxisSearcher):
    """Asks an ``AxClient`` for configurations.

    The first ones are quasi-random. Ax allows for a few trials at a time only; more wait.

    Args:
        space: hpctune domains; or Ax's list of parameters (dicts with "name", "type", "bounds" and so on). None: the
            experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        parameter_constraints: Such as ``"x1 + x2 <= 2"``. Parameters must not be quantized.
        outcome_constraints: Such as ``"memory <= 3.5"``, where memory is reported besides the metric.
        ax_client: An ``AxClient``, which is not copied; if it has an experiment, that says space, metric, mode and
            constraints.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.
        **ax_kwargs: For the ``AxClient`` that is made here, for example ``random_seed`` (None: the experiment's).

    Raises:
        UsageError: if an argument is of the wrong kind, or says again what the client says.
        MissingPackageError: without the package ax-platform.
    """

    package = "ax"
    extra = "ax"

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: Any = None,
        evaluated_rewards: Sequence[Any] | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
        **ax_kwargs: Any,
    ) -> None:
        if ax_client is not None and ax_kwargs:
            raise UsageError(f"{', '.join(ax_kwargs)} is for the AxClient that is made here; ax_client= was given.")
        self._constraints = list(parameter_constraints or [])
        self._outcomes = list(outcome_constraints or [])
        self._client, self._kwargs = ax_client, ax_kwargs
        self._indices: dict[str, int] = {}
        self._result: Mapping[str, Any] = {}
        seed = ax_kwargs.get("random_seed")
        if self._has_experiment():
            if space is not None or metric or mode or self._constraints or self._outcomes:
                raise UsageError(
                    "This ax_client has an experiment already: leave out space, metric, mode, parameter_constraints "
                    "and outcome_constraints."
                )
            objective = ax_client.experiment.optimization_config.objective
            space, metric = ax_client, objective.metric_names[0]
            mode = "min" if objective.minimize else "max"
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

    @classmethod
    def library(cls, submodule: str = "") -> Any:
        with quiet():
            return super().library(submodule)

    def _has_experiment(self) -> bool:
        try:
            return self._client is not None and self._client.experiment is not None
        except AssertionError:  # that is how it says so
            return False

    # -- the space --------------------------------------------------------------------------------------------

    def _take_native(self, space: Any) -> Layout:
        if space is self._client and space is not None:
            self._native = None
            return NamedValues(list(space.experiment.search_space.parameters))
        if not isinstance(space, (list, tuple)) or not all(
            isinstance(each, Mapping) and "name" in each for each in space
        ):
            return super()._take_native(space)
        self._native = [dict(each) for each in space]
        return NamedValues([each["name"] for each in space])

    def _parameters(self) -> list[dict[str, Any]]:
        if not self._converts:
            return list(self._native)
        return [_ax_parameter(axis, self._names[axis.name]) for axis in self._axes]

    def _named(self) -> dict[str, str]:
        """Names for parameters that may stand in an expression: without the '/' of nested ones."""
        if not self._converts:
            return {}
        names = [axis.name for axis in self._axes]
        simple = [re.sub(r"\W", "_", name) for name in names]
        return dict(zip(names, simple if len(set(simple)) == len(simple) else names, strict=True))

    def _constraint(self, text: str) -> str:
        for axis in self._axes if self._converts else ():
            whole = re.compile(rf"(?<![\w/]){re.escape(axis.name)}(?![\w/])")
            if whole.search(text):
                if axis.unit or axis.step != 1 or axis.kind is Kind.OPTION:
                    raise SearchSpaceError(
                        f"The constraint {text!r} is about '{axis.name}', which Ax does not search as a number of its "
                        "own. Use uniform, loguniform or randint for it."
                    )
                text = whole.sub(self._names[axis.name], text)
        return text

    def _start(self, seed: int | None) -> None:
        self._random = GlobalRandomness(seed, torch=True)
        self._names = self._named()
        if self._has_experiment():
            self._objective = self._metric
            return
        self._objective = re.sub(r"\W", "_", str(self._metric))
        service = self.library("service.ax_client")
        if self._client is None:
            kwargs = {"verbose_logging": False, **self._kwargs, "random_seed": seed}
            with _silent():
                self._client = service.AxClient(**kwargs)
        with self._random.use(), _silent():
            self._client.create_experiment(
                parameters=self._parameters(),
                objectives={self._objective: service.ObjectiveProperties(minimize=self._mode == "min")},
                parameter_constraints=[self._constraint(each) for each in self._constraints] or None,
                outcome_constraints=self._outcomes or None,
            )

    # -- asking and telling -----------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> dict[str, Any] | str | None:
        core, strategy = self.library("exceptions.core"), self.library("exceptions.generation_strategy")
        try:
            with self._random.use(), _silent():
                parameters, self._indices[trial_id] = self._client.get_next_trial()
        except (core.DataRequiredError, strategy.MaxParallelismReachedException):
            return None
        except (core.SearchSpaceExhausted, core.OptimizationShouldStop, strategy.GenerationStrategyCompleted):
            return self.FINISHED
        ours = {theirs: name for name, theirs in self._names.items()}
        options = {axis.name for axis in self._axes if axis.kind is Kind.OPTION} if self._converts else ()
        coordinates = {ours.get(name, name): plain(value) for name, value in parameters.items()}
        return self._values({name: int(each) if name in options else each for name, each in coordinates.items()})

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        if trial_id in self._indices:
            self._client.abandon_trial(self._indices.pop(trial_id))
        coordinates = self._coordinates(values)
        if self._converts:
            words = {axis.name for axis in self._axes if axis.kind is Kind.OPTION and not axis.ordered}
            coordinates = {
                self._names[name]: str(each) if name in words else each for name, each in coordinates.items()
            }
        with self._random.use(), _silent():
            _, self._indices[trial_id] = self._client.attach_trial(coordinates)
        return values

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Ax the metric, and what its constraints are about."""
        self._result = result or {}
        super().on_trial_complete(trial_id, result, error)

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        index = self._indices.pop(trial_id)
        data = self._outcome_data(loss)
        with self._random.use(), _silent():
            if data is None:
                self._client.log_trial_failure(index)
            else:
                self._client.complete_trial(index, raw_data=data)

    def _outcome_data(self, loss: Loss | None) -> dict[str, tuple[float, None]] | None:
        """The metric and what constraints are about; None if something of it is missing."""
        if loss is None:
            return None
        assert isinstance(loss, float)
        data = {str(self._objective): loss if self._mode == "min" else -loss}
        for name in self._client.experiment.optimization_config.metric_names:
            if name != self._objective:
                value = lookup(self._result, name)
                if not isinstance(value, (int, float)) or not math.isfinite(value):
                    return None
                data[name] = float(value)
        return {name: (value, None) for name, value in data.items()}

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._adopt("", values)
        self._tell("", values, loss)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Neither Ax's warnings nor its log, but for errors."""
    logger = logging.getLogger("ax")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(level)


def _ax_parameter(axis: Axis, name: str) -> dict[str, Any]:
    if axis.kind is Kind.OPTION:
        options = range(int(axis.high) + 1)
        return {
            "name": name,
            "type": "choice",
            "values": list(options) if axis.ordered else [str(option) for option in options],
            "value_type": "int" if axis.ordered else "str",
            "is_ordered": axis.ordered,
            "sort_values": axis.ordered,
        }
    whole = axis.kind is Kind.WHOLE
    return {
        "name": name,
        "type": "range",
        "bounds": [int(axis.low), int(axis.high)] if whole else [float(axis.low), float(axis.high)],
        "value_type": "int" if whole else "float",
        "log_scale": axis.log,
    }
