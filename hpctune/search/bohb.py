"""BOHB: Bayesian optimization that learns from short trainings as well as from long ones. It needs numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import is_whole
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.library import LibrarySearcher
from hpctune.search.adapters.objective import Loss
from hpctune.search.adapters.parameters import Layout, Parameter, ParameterSpace
from hpctune.search.adapters.points import Evaluated
from hpctune.search.adapters.unit import from_unit, to_unit
from hpctune.search.models.kde import Density, imputed, propose
from hpctune.space import choice, lograndint, loguniform, randint, randn, unflatten_dict, uniform

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class BOHBConfig:
    """The constants of BOHB, with the values of its authors' implementation.

    Args:
        min_points_in_model: How many good and bad points a model needs; None: one more than there are parameters.
        top_n_percent: How many percent of the points are good.
        num_samples: How many candidates are drawn for each suggestion.
        random_fraction: The share of suggestions that are drawn at random.
        bandwidth_factor: By how much kernels are widened for drawing candidates, so that they vary more.
        min_bandwidth: The least bandwidth of a kernel.
    """

    min_points_in_model: int | None = None
    top_n_percent: float = 15
    num_samples: int = 64
    random_fraction: float = 1 / 3
    bandwidth_factor: float = 3
    min_bandwidth: float = 1e-3

    def __post_init__(self) -> None:
        for name, low, high in (
            ("min_points_in_model", 1, math.inf),
            ("top_n_percent", 0, 100),
            ("num_samples", 1, math.inf),
            ("random_fraction", 0, 1),
            ("bandwidth_factor", 0, math.inf),
            ("min_bandwidth", 1e-12, math.inf),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name} in bohb_config must be from {low} to {high}, not {value!r}.")


class TuneBOHB(LibrarySearcher):
    """Learns from the results of each training length (budget) apart, and suggests by the longest that has enough.

    Falkner et al. 2018, section 3.2. Meant for ``HyperBandForBOHB``; it learns with ASHA and without any scheduler
    just as well. Every intermediate result is an observation: its budget is what the scheduler puts into the result
    as ``hyperband_info["budget"]``, or its ``training_iteration``.

    A trial that fails, or reports no finite metric, counts as the worst of its budget.

    Args:
        space: hpctune domains, or a ConfigSpace ConfigurationSpace without conditions. None: the experiment's.
        bohb_config: Constants of the model: see :class:`BOHBConfig`.
        metric: The reported value to optimize.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first.
        seed: None: the experiment's.
        max_concurrent: How many trials may be under way, those not counted that are paused; 0: no limit. The limit of
            a ConcurrencyLimiter around this searcher replaces it.

    Raises:
        UsageError: if an argument is of the wrong kind.
    """

    conditional = True

    def __init__(
        self,
        space: Any = None,
        bohb_config: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        known = [field.name for field in fields(BOHBConfig)]
        if unknown := [key for key in bohb_config or {} if key not in known]:
            raise UsageError(f"bohb_config has no '{unknown[0]}'. It has: {', '.join(known)}.")
        self.constants = BOHBConfig(**(bohb_config or {}))
        self.max_concurrent = 0
        self.set_max_concurrency(max_concurrent)
        self._rng: Generator | None = None
        self._paused: set[str] = set()
        self._rows: dict[str, list[float]] = {}
        self._seen: dict[float, dict[str, float]] = {}
        self._elsewhere: dict[str, float] = {}
        super().__init__(space, metric, mode, points_to_evaluate, None, seed)

    # -- the space --------------------------------------------------------------------------------------------

    def _convert(self, parameter: Parameter) -> int:
        """The number of options of a choice; 0 for a number."""
        return parameter.options

    def _take_native(self, space: Any) -> Layout:
        if not hasattr(space, "conditions"):
            return super()._take_native(space)
        domains = unflatten_dict({parameter.name: _domain_of(parameter) for parameter in _of_config_space(space)})
        layout = ParameterSpace(domains, type(self).__name__, constants=True)
        self._native = {parameter.name: parameter.options for parameter in layout.parameters}
        return layout

    def _row(self, values: Mapping[str, Any]) -> list[float]:
        """Values as a point of the model."""
        row = []
        for parameter in self.parameters:
            if parameter.name not in values:
                row.append(math.nan)
            elif parameter.options:
                row.append(float(parameter.option(values[parameter.name])))
            else:
                row.append(to_unit(parameter.domain, values[parameter.name]))
        return row

    def _values(self, row: Sequence[float]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for parameter, place in zip(self.parameters, row, strict=True):
            if parameter.active(values):
                drawn = parameter.value(int(place)) if parameter.options else from_unit(parameter.domain, float(place))
                values[parameter.name] = drawn
        return values

    # -- the search -------------------------------------------------------------------------------------------

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Change the limit. Returns True: this searcher keeps it by itself."""
        if not is_whole(max_concurrent):
            raise UsageError(f"max_concurrent must be an integer, 0 for no limit, not {max_concurrent!r}.")
        self.max_concurrent = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a suggestion; None while the limit is reached."""
        if 0 < self.max_concurrent <= len(self._pending.keys() - self._paused):
            return None
        return super().suggest(trial_id)

    def _start(self, seed: int | None) -> None:
        import numpy as np

        self._rng = np.random.default_rng(seed)

    def _ask(self, trial_id: str) -> dict[str, Any]:
        assert self._rng is not None
        models = None if self._rng.random() < self.constants.random_fraction else self._models()
        if models is None:
            drawn = [self._rng.integers(number) if number else self._rng.random() for number in self._native.values()]
            return self._values([float(each) for each in drawn])
        good, bad = models
        constants = self.constants
        return self._values(propose(good, bad, constants.num_samples, constants.bandwidth_factor, self._rng).tolist())

    def _models(self) -> tuple[Density, Density] | None:
        """The densities of good and bad points at the largest budget that has enough; None if none has."""
        import numpy as np

        assert self._rng is not None
        constants, options = self.constants, list(self._native.values())
        least = constants.min_points_in_model or len(options) + 1
        seen = next((each for each in self._observed() if len(each) >= least + 2), None)
        if seen is None:
            return None
        ranked = sorted(seen, key=lambda trial_id: seen[trial_id])
        points = imputed(np.array([self._rows[trial_id] for trial_id in ranked]), options, self._rng)
        share = int(constants.top_n_percent * len(ranked) / 100)
        goods, bads = max(least, share), max(least, len(ranked) - share)
        good = Density.fit(points[:goods], options, constants.min_bandwidth)
        return good, Density.fit(points[-bads:], options, constants.min_bandwidth)

    def _observed(self) -> Iterator[Mapping[str, float]]:
        """The losses by trial, for each budget, the largest first. What was evaluated elsewhere counts for that."""
        largest, *others = sorted(self._seen, reverse=True) or [0.0]
        yield {**self._seen.get(largest, {}), **self._elsewhere}
        for budget in others:
            yield self._seen[budget]

    # -- results ----------------------------------------------------------------------------------------------

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn what the trial has reached with this budget."""
        budget = (result.get("hyperband_info") or {}).get("budget", result.get("training_iteration"))
        if trial_id in self._pending and budget is not None:
            loss = self._loss_of(result)
            self._observe(trial_id, self._pending[trial_id], float(budget), loss if isinstance(loss, float) else None)

    def _observe(self, trial_id: str, values: Mapping[str, Any], budget: float, loss: float | None) -> None:
        self._rows.setdefault(trial_id, self._row(values))
        self._seen.setdefault(budget, {})[trial_id] = math.inf if loss is None else loss

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn from the last result, and from a failure."""
        if result and not error:
            self.on_trial_result(trial_id, result)
        super().on_trial_complete(trial_id, result, error)
        self._paused.discard(trial_id)

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        if loss is None:
            reached = [budget for budget, seen in self._seen.items() if trial_id in seen]
            self._observe(trial_id, values, max(reached, default=min(self._seen, default=1.0)), None)

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        name = f"elsewhere {len(self._elsewhere)}"
        self._rows[name] = self._row(values)
        self._elsewhere[name] = loss if isinstance(loss, float) else math.inf
        for budget, value in enumerate(point.intermediate_values or (), 1):
            reached = self._loss(value)
            self._observe(name, values, float(budget), reached if isinstance(reached, float) else None)

    def on_pause(self, trial_id: str) -> None:
        """Stop counting the trial as under way."""
        if trial_id in self._pending:
            self._paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Count the trial as under way again."""
        self._paused.discard(trial_id)


def _of_config_space(space: Any) -> list[Any]:
    """The parameters of a ConfigurationSpace. Raises SearchSpaceError if it has conditions or forbidden clauses."""
    if list(space.conditions) or list(space.forbidden_clauses):
        raise SearchSpaceError(
            "TuneBOHB takes no ConfigurationSpace with conditions or forbidden clauses. Give it hpctune domains: a "
            "choice may have options with domains inside, such as choice([{'kind': 'svm', 'C': loguniform(1, 9)}])."
        )
    return list(space.values())


def _domain_of(parameter: Any) -> Any:
    """A parameter of ConfigSpace as an hpctune domain, or its value if it is a constant."""
    kind = type(parameter).__name__
    match kind:
        case "UniformFloatHyperparameter":
            return (loguniform if parameter.log else uniform)(parameter.lower, parameter.upper)
        case "UniformIntegerHyperparameter":
            return (lograndint if parameter.log else randint)(parameter.lower, parameter.upper + 1)
        case "NormalFloatHyperparameter":
            return randn(parameter.mu, parameter.sigma)
        case "CategoricalHyperparameter":
            return choice(list(parameter.choices))
        case "OrdinalHyperparameter":
            return choice(list(parameter.sequence))
        case "Constant":
            return parameter.value
    raise SearchSpaceError(f"TuneBOHB cannot search '{parameter.name}', a {kind}. Give it hpctune domains instead.")
