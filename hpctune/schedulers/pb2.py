"""Population based bandits: population based training whose new hyperparameters come from a model.

Parker-Holder et al., "Provably Efficient Online Hyperparameter Optimization with Population-Based Bandits", NeurIPS
2020 (arXiv 2002.02518). Exploiting is as in population based training; what is explored is the maximum of an upper
confidence bound on the improvement in the next interval, see ``hpctune.schedulers.pb2_model``.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from hpctune.errors import MissingPackageError, UsageError
from hpctune.model.rows import flatten
from hpctune.schedulers.changes import Observation, changes
from hpctune.schedulers.explore import Operations, customized, like, mutated
from hpctune.schedulers.metric import WORST, positive
from hpctune.schedulers.pbt import Member, PopulationBasedTraining
from hpctune.space import uniform

Bounds = Mapping[str, Any]
"""[least, greatest] of each hyperparameter, or a dict of these."""


class PB2(PopulationBasedTraining):
    """As :class:`PopulationBasedTraining`, but a Gaussian process chooses the new values. Needs scikit-learn.

    - ``hyperparam_bounds``: what may change: ``[least, greatest]`` for each hyperparameter, all of them numbers, or
      dicts of these. What a trial's configuration lacks is drawn uniformly at its start.
    - ``custom_explore_fn(config)``: returns the configuration to use, given the one that the model suggests.

    The other arguments are those of :class:`PopulationBasedTraining`. A hyperparameter that is a whole number in the
    donor's configuration stays one.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Bounds | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        *,
        seed: int = 0,
    ) -> None:
        if not hyperparam_bounds:
            raise UsageError("PB2 needs hyperparam_bounds, such as {'lr': [1e-4, 1e-1]}.")
        if find_spec("sklearn") is None:
            raise MissingPackageError("PB2 needs scikit-learn, which is not installed: pip install 'hpctune[pb2]'")
        self.hyperparam_bounds = hyperparam_bounds
        super().__init__(
            time_attr,
            metric,
            mode,
            perturbation_interval,
            hyperparam_mutations=_domains(hyperparam_bounds),
            quantile_fraction=quantile_fraction,
            resample_probability=0,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
            seed=seed,
        )

    def _reset(self) -> None:
        super()._reset()
        self._limits: dict[str, tuple[float, float]] = {
            k: (v[0], v[1]) for k, v in flatten(self.hyperparam_bounds).items()
        }
        self._observed: list[Observation] = []
        self._batch: list[tuple[float, ...]] = []
        """What was suggested since the population has got as far as :attr:`_batch_time`."""
        self._batch_time = 0.0

    def _evaluated(self, member: Member, time: float, score: float) -> None:
        if score != WORST:
            self._observed.append(Observation(member.trial_id, time, self._values(member.config), score))

    def _values(self, config: Mapping[str, Any]) -> tuple[float, ...]:
        found = mutated(config, self.hyperparam_mutations)
        wrong = {k: found.get(k) for k in self._limits if not isinstance(found.get(k), (int, float))}
        if wrong:
            raise UsageError(
                f"PB2 can only model numbers, and a trial's config has {wrong!r}. Leave them out of the bounds."
            )
        return tuple(float(found[key]) for key in self._limits)

    def _explored(self, member: Member, donor: Member, rng: random.Random) -> tuple[dict[str, Any], Operations]:
        farthest = max((o.time for o in self._observed), default=0.0)
        if farthest > self._batch_time:
            self._batch, self._batch_time = [], farthest
        config = copy.deepcopy(dict(donor.config))
        operations = self._model(member, donor, rng.getrandbits(32), config)
        self._batch.append(self._values(config))
        return customized(self.custom_explore_fn, config), operations

    def _model(self, member: Member, donor: Member, seed: int, config: dict[str, Any]) -> Operations:
        """Put what the model suggests into ``config``; nothing, before the donor has gone through one interval."""
        data = changes(self._observed)
        latest = next((c for c in reversed(data) if c.trial_id == donor.trial_id), None)
        if latest is None:
            return {}
        from hpctune.schedulers.pb2_model import suggest

        suggested = suggest(data, (latest.time, latest.before), list(self._limits.values()), self._batch, seed)
        operations: Operations = {}
        for key, value in zip(self._limits, suggested, strict=True):
            _put(config, key.split("/"), value)
            operations[key] = "by the model"
        self._observed.append(Observation(member.trial_id, latest.time, self._values(config), latest.after))
        return operations


def _put(config: dict[str, Any], path: list[str], value: float) -> None:
    *parents, last = path
    for parent in parents:
        config = config[parent]
    config[last] = like(config[last], value)


def _domains(bounds: Bounds, path: str = "") -> dict[str, Any]:
    """The bounds as domains. Raises UsageError if they are none."""
    made: dict[str, Any] = {}
    for key, value in bounds.items():
        name = f"hyperparam_bounds[{f'{path}{key}'!r}]"
        if isinstance(value, Mapping):
            made[key] = _domains(value, f"{path}{key}/")
            continue
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise UsageError(f"{name} must be [least, greatest], not {value!r}.")
        for limit in value:
            positive(f"each of {name}", limit, above=float("-inf"))
        if value[0] > value[1]:
            raise UsageError(f"{name} must be [least, greatest] in this order, not {value!r}.")
        made[key] = uniform(*value) if value[0] < value[1] else [value[0]]
    return made
