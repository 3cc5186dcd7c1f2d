"""How free CPUs and GPUs are shared out among trials: the allocation functions of ResourceChangingScheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from hpctune.errors import UsageError
from hpctune.model.resources import Bundle, Resources
from hpctune.model.rows import number
from hpctune.model.trial import Trial
from hpctune.schedulers.allocation import Amount, LiveTrials, Unit
from hpctune.schedulers.metric import checked_mode


class Knows(Protocol):
    """What they ask of the scheduler."""

    @property
    def metric(self) -> str | None: ...
    @property
    def mode(self) -> str | None: ...

    def base_resources(self, trial: Trial) -> Resources:
        """What ``trial`` asked for first."""
        ...


class DistributeResources:
    """Gives every trial an equal share of what is free, above what it started with.

    - ``add_bundles``: the share becomes bundles (tasks) of its own; else it is added to the trial's only bundle.
    - ``increase_by``: the unit in which a request grows, such as ``{"CPU": 2, "GPU": 1}``. By default one GPU if the
      trials use GPUs, else one CPU; with ``add_bundles`` the trial's last bundle.
    - ``increase_by_times``: so many units a trial at most; below 1: no limit. Heeded with ``increase_by`` only.
    - ``reserve_resources``: ``{"CPU": ..., "GPU": ...}`` that no trial gets.

    What is to be had in all is ``total_resources`` of the scheduler.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        self.add_bundles, self.increase_by_times = add_bundles, increase_by_times
        self.increase_by = Amount.parse("increase_by", increase_by) if increase_by else None
        if self.increase_by is not None and self.increase_by.empty:
            raise UsageError(f"increase_by must hold some CPU or GPU, not {increase_by!r}.")
        self.reserve_resources = Amount.parse("reserve_resources", reserve_resources or {})

    def __call__(
        self, experiment: LiveTrials, trial: Trial, result: Mapping[str, Any], scheduler: Knows
    ) -> Resources | None:
        """What ``trial`` gets now."""
        base = scheduler.base_resources(trial)
        if not self.add_bundles and len(base.bundles) > 1:
            raise UsageError(
                f"{type(self).__name__}(add_bundles=False) needs trials of one bundle; resources_per_trial has "
                f"{len(base.bundles)}. Give add_bundles=True."
            )
        if (number(result, "training_iteration") or 0) < 1:
            return None
        unit = self._unit(base)
        live = experiment.trials
        total = experiment.total - self.reserve_resources
        free = unit.fitting(total - sum((Amount.of(t.resources) for t in live), Amount()))
        have = unit.fitting(Amount.of(trial.resources) - Amount.of(base))
        return self._with(base, unit, max(self._units(experiment, trial, scheduler, unit, have, free, total), 0))

    def _units(
        self,
        experiment: LiveTrials,
        trial: Trial,
        scheduler: Knows,
        unit: Unit,
        have: int,
        free: int,
        total: Amount,
    ) -> int:
        """How many units above its base ``trial`` gets; it has ``have``, and ``free`` (below 0: lacking) are free."""
        if free <= 0:
            return have + free
        bases = sum((Amount.of(scheduler.base_resources(t)) for t in experiment.trials), Amount())
        share = -(-unit.fitting(total - bases) // len(experiment.trials))  # rounded up
        return min(have + free, *(limit for limit in (share, self._limit) if limit > 0))

    @property
    def _limit(self) -> int:
        return self.increase_by_times if self.increase_by is not None else 0

    def _unit(self, base: Resources) -> Unit:
        if self.increase_by is not None:
            return Unit(self.increase_by)
        if self.add_bundles:
            return Unit(Amount.of(Resources(base.bundles[-1:])))
        return Unit(Amount(gpus=1.0) if base.gpus else Amount(cpus=1.0))

    def _with(self, base: Resources, unit: Unit, units: int) -> Resources:
        if self.add_bundles:
            one = replace(base.bundles[-1], cpus=unit.amount.cpus, gpus=unit.amount.gpus)
            return replace(base, bundles=(*base.bundles, *[one] * units))
        bundle: Bundle = base.bundles[0]
        more = replace(bundle, cpus=bundle.cpus + units * unit.amount.cpus, gpus=bundle.gpus + units * unit.amount.gpus)
        return replace(base, bundles=(more,))


class DistributeResourcesToTopJob(DistributeResources):
    """Gives all that is free to the best trial that has not reached its limit, by its last result.

    ``metric`` and ``mode``: the scheduler's, or the experiment's, by default. Trials that were best before keep what
    they have, unless more is in use than there is.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        self.metric, self.mode = metric, checked_mode(mode)

    def _units(
        self,
        experiment: LiveTrials,
        trial: Trial,
        scheduler: Knows,
        unit: Unit,
        have: int,
        free: int,
        total: Amount,
    ) -> int:
        if free < 0:
            return have + free
        if trial.trial_id != self._top(experiment.trials, scheduler, unit).trial_id:
            return have
        return min(have + free, self._limit) if self._limit > 0 else have + free

    def _top(self, trials: Sequence[Trial], scheduler: Knows, unit: Unit) -> Trial:
        metric, mode = self.metric or scheduler.metric, self.mode or scheduler.mode
        if metric is None or mode is None:
            raise UsageError(
                "DistributeResourcesToTopJob has no metric or no mode. Give them to it, to the base scheduler, or to "
                "tune.run or TuneConfig."
            )

        def badness(t: Trial) -> float:
            value = number(t.last, metric)
            return float("inf") if value is None or value != value else value if mode == "min" else -value

        def grows(t: Trial) -> bool:
            added = Amount.of(t.resources) - Amount.of(scheduler.base_resources(t))
            return self._limit <= 0 or unit.fitting(added) < self._limit

        ranked = sorted(trials, key=badness)
        return next((t for t in ranked if grows(t)), ranked[0])
