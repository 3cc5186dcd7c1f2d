"""The search space of an experiment as Optuna's distributions, and what its trials have of each.

They are what the experiment's origin says, made wider if a trial has another value (population based training,
points to evaluate); else they are inferred from the values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna import distributions as to

from hpctune.analysis.load import LoadedExperiment
from hpctune.interop.optuna.records import params_in
from hpctune.model.rows import PRIVATE, flatten
from hpctune.search.optuna import distribution
from hpctune.space.describe import domains_of
from hpctune.space.domain import Categorical, Domain
from hpctune.storage.values import plain
from hpctune.trial import Trial

LOG_RATIO = 1000.0
"""A parameter of which only the values are known is logarithmic if the largest is this many times the smallest."""
Value = None | bool | int | float | str


class Axes:
    """``distributions``: of each parameter that varies."""

    def __init__(self, loaded: LoadedExperiment) -> None:
        self._params = {trial.trial_id: _params(trial) for trial in loaded.trials}
        names = {name: None for params in self._params.values() for name in params}
        domains, told = domains_of(loaded.spec.origin.get("search_space")), _told(loaded.trials)
        self.distributions: dict[str, to.BaseDistribution] = {}
        for name in names:
            values = [params[name] for params in self._params.values() if name in params]
            known = told.get(name) or _of_domains(domains.get(name, []))
            if known is not None:
                self.distributions[name] = covering(known, values)
            elif len(loaded.trials) == 1 or len(_unique(values)) > 1:
                self.distributions[name] = inferred(values)

    def params(self, trial: Trial) -> dict[str, Value]:
        """The values that a trial has of the parameters that vary."""
        known = self.distributions
        return {name: _fitting(known[name], v) for name, v in self._params[trial.trial_id].items() if name in known}

    def constants(self, trial: Trial) -> dict[str, Value]:
        """The rest of a trial's configuration."""
        return {name: simple(value) for name, value in flatten(trial.config).items() if name not in self.distributions}


def simple(value: Any) -> Value:
    """``value`` as one that Optuna stores: a number, a text, or JSON for anything else."""
    value = plain(value)
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return json.dumps(value)


def _params(trial: Trial) -> dict[str, Value]:
    """The parameters that vary, with their values now: those of the configuration, where a scheduler changed them."""
    now = flatten(trial.config)
    return {name: simple(now.get(name, value)) for name, value in flatten(trial.evaluated_params).items()}


def _told(trials: Sequence[Trial]) -> dict[str, to.BaseDistribution]:
    """The distributions that trials of an Optuna script have stated."""
    found: dict[str, to.BaseDistribution] = {}
    for trial in trials:
        record = trial.value.last.get(PRIVATE)
        if isinstance(record, Mapping) and isinstance(record.get("params"), Mapping):
            found |= params_in(record["params"])[1]
    return found


def _of_domains(domains: Sequence[Domain | None]) -> to.BaseDistribution | None:
    """The distribution of the only domain; None if there are several, or it has none."""
    if len(domains) != 1 or domains[0] is None:
        return None
    if isinstance(domains[0], Categorical):
        return to.CategoricalDistribution(_unique(domains[0].categories))
    made: to.BaseDistribution | None = distribution(domains[0])
    return made


def covering(known: to.BaseDistribution, values: Sequence[Value]) -> to.BaseDistribution:
    """``known``, or one like it that has all ``values`` in it."""
    if isinstance(known, to.CategoricalDistribution):
        return to.CategoricalDistribution(_unique([*known.choices, *values]))
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return inferred(values)
    fitting = [_fitting(known, number) for number in numbers]
    if fitting == numbers and all(known._contains(number) for number in numbers):
        return known
    low, high = min([known.low, *numbers]), max([known.high, *numbers])  # type: ignore[attr-defined]
    log = bool(known.log) and low > 0  # type: ignore[attr-defined]
    if isinstance(known, to.IntDistribution) and all(float(number).is_integer() for number in numbers):
        return to.IntDistribution(int(low), int(high), log=log)
    return to.FloatDistribution(low, high, log=log)


def inferred(values: Sequence[Value]) -> to.BaseDistribution:
    """The distribution that ``values`` suggest: between the smallest and the largest number, else among all."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if not numbers or len(numbers) < len(values):
        return to.CategoricalDistribution(_unique(values))
    low, high = min(numbers), max(numbers)
    log = low > 0 and high / low >= LOG_RATIO
    if all(isinstance(number, int) for number in numbers):
        return to.IntDistribution(int(low), int(high), log=log)
    return to.FloatDistribution(low, high, log=log)


def _fitting(known: to.BaseDistribution, value: Value) -> Value:
    """``value`` in the type that the distribution has."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(known, to.IntDistribution) and float(value).is_integer():
            return int(value)
        if isinstance(known, to.FloatDistribution):
            return float(value)
    return value


def _unique(values: Sequence[Any]) -> list[Value]:
    """Each value once: True is not 1."""
    return list({(type(made), made): made for made in map(simple, values)}.values())
