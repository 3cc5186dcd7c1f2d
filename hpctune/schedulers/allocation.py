"""Amounts of CPUs and GPUs, and the units in which they are given away."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hpctune.common.checks import is_number
from hpctune.errors import UsageError
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial

_CLOSE = 1e-9
"""Tolerance for sums of fractions of a GPU."""


@dataclass(frozen=True, slots=True)
class Amount:
    """CPUs and GPUs; what is lacking is negative."""

    cpus: float = 0.0
    gpus: float = 0.0

    @classmethod
    def of(cls, resources: Resources) -> Amount:
        """What a request asks for in all its bundles."""
        return cls(resources.cpus, resources.gpus)

    @classmethod
    def parse(cls, name: str, given: Mapping[str, float]) -> Amount:
        """Read ``{"CPU": ..., "GPU": ...}``. Raises UsageError, naming the argument, for anything else."""
        amounts = {"cpu": 0.0, "gpu": 0.0}
        for key, value in given.items() if isinstance(given, Mapping) else [("", given)]:
            number = is_number(value) and 0 <= value < math.inf
            if str(key).lower() not in amounts or not number:
                raise UsageError(f'{name} must be a dict such as {{"CPU": 8, "GPU": 1}}, not {given!r}.')
            amounts[str(key).lower()] = float(value)
        return cls(amounts["cpu"], amounts["gpu"])

    @property
    def empty(self) -> bool:
        """Whether it is nothing at all."""
        return not self.cpus and not self.gpus

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.cpus + other.cpus, self.gpus + other.gpus)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.cpus - other.cpus, self.gpus - other.gpus)

    def at_least(self, other: Amount) -> Amount:
        """The greater of both, each for itself."""
        return Amount(max(self.cpus, other.cpus), max(self.gpus, other.gpus))


@dataclass(frozen=True, slots=True)
class Unit:
    """The amount by which requests grow and shrink."""

    amount: Amount

    def fitting(self, amount: Amount) -> int:
        """How many units ``amount`` makes; if it lacks something, how many units cover that, negative."""
        pairs = ((amount.cpus, self.amount.cpus), (amount.gpus, self.amount.gpus))
        return min(math.floor(have / one + _CLOSE) for have, one in pairs if one)


@dataclass(frozen=True, slots=True)
class LiveTrials:
    """What an allocation function may know of the experiment: the trials that are not over, and what they may use.

    ``trials`` are as they were when they were last heard of, with the resources that they have now or were promised.
    ``total``: the CPUs and GPUs that all of them may have together.
    """

    trials: tuple[Trial, ...]
    total: Amount

    def get_live_trials(self) -> list[Trial]:
        """The trials, oldest first."""
        return list(self.trials)

    @property
    def _resource_updater(self) -> _Totals:
        """The name that allocation functions in Ray Tune's examples ask."""
        return _Totals(self.total)


class _Totals:
    def __init__(self, total: Amount) -> None:
        self._total = total

    def get_num_cpus(self) -> float:
        return self._total.cpus

    def get_num_gpus(self) -> float:
        return self._total.gpus
