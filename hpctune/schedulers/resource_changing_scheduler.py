"""Changing the resources of trials while they go on: what ended trials leave free goes to those that remain.

The rules are those of Ray Tune's scheduler of the same name. Each change costs the trial a checkpoint and a new job.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import Continue, Decision, Reallocate
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.model.trial import Trial
from hpctune.schedulers.allocation import Amount, LiveTrials
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.schedulers.controller import Controller
from hpctune.schedulers.distribute import DistributeResources, DistributeResourcesToTopJob

__all__ = [
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "LiveTrials",
    "ResourceChangingScheduler",
    "evenly_distribute_cpus_gpus",
    "evenly_distribute_cpus_gpus_distributed",
]

Request = Resources | PlacementGroupFactory | Mapping[str, Any] | None
Allocate = Callable[[LiveTrials, Trial, Mapping[str, Any], "ResourceChangingScheduler"], Request]
"""(experiment, trial, its result, scheduler) -> the trial's resources from now on; None: as they are.

It must be a function of these alone: after a crash the driver asks it again for each result of the journal.
"""


class ResourceChangingScheduler:
    """Another scheduler's decisions, and new resources for the trials that it lets go on.

    - ``base_scheduler``: decides on trials as ever; first come, first served by default.
    - ``resources_allocation_function``: says after each result what the trial is to have (see :data:`Allocate`);
      :class:`DistributeResources` by default. A trial that is to have something else makes a checkpoint, ends its job,
      and goes on in one that asks for that. A trainable reads it with ``tune.get_trial_resources()`` or, in a class,
      ``self.trial_resources``.
    - ``total_resources``: ``{"CPU": ..., "GPU": ...}`` that all trials may have together. By default as much as they
      had when most of them were under way with what they first asked for: the experiment's footprint never grows.
    """

    def __init__(
        self,
        base_scheduler: SchedulerPolicy | None = None,
        resources_allocation_function: Allocate | None = None,
        *,
        total_resources: Mapping[str, float] | None = None,
    ) -> None:
        if resources_allocation_function is not None and not callable(resources_allocation_function):
            raise UsageError(f"resources_allocation_function must be callable, not {resources_allocation_function!r}.")
        self._base = base_scheduler if base_scheduler is not None else FIFOScheduler()
        self._allocate: Allocate = resources_allocation_function or DistributeResources()
        self._total = Amount.parse("total_resources", total_resources) if total_resources is not None else None
        self._properties: tuple[str | None, str | None] = (None, None)
        self._reset()

    def _reset(self) -> None:
        self._live: dict[str, Trial] = {}
        self._first: dict[str, Resources] = {}
        self._peak = Amount()

    def fresh(self) -> ResourceChangingScheduler:
        """The same scheduler with no memory of any trial."""
        made = copy.copy(self)
        if hasattr(self._base, "fresh"):
            made._base = self._base.fresh()
        made._allocate = copy.deepcopy(self._allocate)
        made._reset()
        return made

    # -- what is optimized ----------------------------------------------------------------------------------------

    @property
    def metric(self) -> str | None:
        """The base scheduler's metric, or the experiment's."""
        return getattr(self._base, "metric", None) or self._properties[0]

    @property
    def mode(self) -> str | None:
        """The base scheduler's mode, or the experiment's."""
        return getattr(self._base, "mode", None) or self._properties[1]

    @property
    def time_attr(self) -> str | None:
        """What the base scheduler measures time by."""
        return getattr(self._base, "time_attr", None)

    @property
    def log_config(self) -> bool:
        """Whether the base scheduler keeps a log of configurations that change."""
        return bool(getattr(self._base, "log_config", False))

    @property
    def synchronous(self) -> bool:
        """Whether the base scheduler is."""
        return self._base.synchronous

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Take the experiment's metric and mode; False if they contradict the base scheduler's."""
        self._properties = (metric, mode)
        tell = getattr(self._base, "set_search_properties", None)
        return bool(tell(metric, mode)) if tell is not None else True

    def check_search_properties(self) -> None:
        """Raise UsageError if the base scheduler does not know what to optimize."""
        if hasattr(self._base, "check_search_properties"):
            self._base.check_search_properties()

    # -- decisions ------------------------------------------------------------------------------------------------

    def base_resources(self, trial: Trial) -> Resources:
        """What ``trial`` asked for first."""
        return self._first.get(trial.trial_id, trial.resources)

    @property
    def _base_trial_resources(self) -> PlacementGroupFactory | None:
        """What the first trial asked for first: the name that allocation functions in Ray Tune's examples ask."""
        return next((first.placement_group_factory() for first in self._first.values()), None)

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """The base scheduler's decision; if the trial goes on, perhaps with other resources."""
        self._note(trial)
        decision = self._base.on_trial_result(trial, row)
        if not isinstance(decision, Continue) or row.get("done"):
            return decision
        experiment = LiveTrials(tuple(self._live.values()), self._peak if self._total is None else self._total)
        request = self._allocate(experiment, trial, row, self)
        if request is None:
            return decision
        resources = Resources.parse(request)
        if resources == trial.resources:
            return decision
        self._live[trial.trial_id] = replace(trial, resources=resources)
        return Reallocate(resources, f"from now on with {resources.describe()}")

    def on_trial_add(self, trial: Trial) -> None:
        """Note what it asks for."""
        self._first[trial.trial_id] = trial.resources
        self._note(trial)
        footprint = sum((Amount.of(self._first[i]) for i in self._live), Amount())
        self._peak = self._peak.at_least(footprint)
        self._base.on_trial_add(trial)

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """What it had is free."""
        self._live.pop(trial.trial_id, None)
        self._base.on_trial_complete(trial, row)

    def on_trial_error(self, trial: Trial) -> None:
        """What it had is free."""
        self._live.pop(trial.trial_id, None)
        self._base.on_trial_error(trial)

    def _note(self, trial: Trial) -> None:
        """The trial with its newest result in its place among the living."""
        self._live[trial.trial_id] = trial

    # -- the base scheduler's alone --------------------------------------------------------------------------------

    def check_space(self, space: Mapping[str, Any]) -> None:
        """Let the base scheduler check it, if it can."""
        if hasattr(self._base, "check_space"):
            self._base.check_space(space)

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Let the base scheduler check it, if it can."""
        if hasattr(self._base, "check_config"):
            self._base.check_config(config)

    def complete_config(self, index: int, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """As the base scheduler wants it."""
        return self._base.complete_config(index, config)

    def on_search_exhausted(self) -> None:
        """Pass it on."""
        self._base.on_search_exhausted()

    def decisions_on_others(self) -> Sequence[tuple[str, Decision]]:
        """The base scheduler's."""
        return self._base.decisions_on_others()

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The base scheduler's choice."""
        return self._base.choose(waiting, idle=idle)

    def never_resumed(self, active: Sequence[Trial]) -> Collection[str]:
        """Those that the base scheduler never resumes."""
        known: Callable[[Sequence[Trial]], Collection[str]] | None = getattr(self._base, "never_resumed", None)
        return known(active) if known is not None else ()

    @property
    def needs_controller(self) -> bool:
        """Whether the base scheduler is written for Ray Tune's methods."""
        return bool(getattr(self._base, "needs_controller", False))

    @property
    def controller(self) -> Controller:
        """The base scheduler's."""
        made: Controller = self._base.controller  # type: ignore[attr-defined]
        return made

    def milestone_after(self, trial: Trial, value: float) -> float | None:
        after = getattr(self._base, "milestone_after", None)
        return None if after is None else after(trial, value)

    def end(self, trial: Trial) -> float | None:
        known = getattr(self._base, "end", None)
        return None if known is None else known(trial)

    def milestone(self, trial: Trial) -> float | None:
        """The base scheduler's."""
        return self._base.milestone(trial)

    def debug_string(self) -> str:
        """The base scheduler's, and who has more than at first."""
        grown = sum(t.resources != self._first[i] for i, t in self._live.items())
        told = getattr(self._base, "debug_string", lambda: f"Using {type(self._base).__name__}.")()
        return f"(ResourceChangingScheduler: {grown} of {len(self._live)} trials with other resources) {told}"


evenly_distribute_cpus_gpus = DistributeResources()
"""An equal share of the free CPUs and GPUs for each trial, in its one bundle."""
evenly_distribute_cpus_gpus_distributed = DistributeResources(add_bundles=True)
"""An equal share of the free CPUs and GPUs for each trial, as more bundles."""
