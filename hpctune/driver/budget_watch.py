"""Watches the budget of hours: what is held, what the trials that run may still need, and what is left for others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from hpctune.cluster.amounts import amounts_of, memory_mib
from hpctune.common.text import quoted
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.ports import Cluster, Demand


class BudgetWatch:
    """Decides whether another attempt fits into the budget. Without a budget, every one does.

    ``refused``: whether one did not since the last :meth:`look`.
    """

    def __init__(self, spec: ExperimentSpec, cluster: Cluster) -> None:
        self._spec, self._cluster, self.budget = spec, cluster, spec.budget
        self._rates: dict[str, float] = {}
        self._free = self._needs = 0.0
        self.held = 0.0
        self.refused = False

    def look(self, state: ExperimentState, now: float) -> None:
        """Compute what is held at ``now``, and what is free besides what live attempts may still need."""
        if self.budget is None:
            return
        self.refused, self.held = False, self._held(state, now)
        self._state, self._now = state, now
        live = state.in_phase(Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING)
        self._free = self.budget.amount - self.held - sum(self._cost(trial) for trial in live)

    def affords(self, trial: Trial | None, resources: Resources) -> bool:
        """Whether an attempt of ``trial`` (None: of a new one) with ``resources`` fits. Live attempts end normally."""
        if self.budget is None:
            return True
        self._needs = self._rate(resources) * self._expected_s(trial, resources) / 3600
        fits = self._free > 0 and self._needs <= self._free
        self.refused = self.refused or not fits
        return fits

    def take(self, event: e.Event) -> None:
        """Use an event: an attempt that begins takes its part of what is free."""
        if self.budget is not None and isinstance(event, e.SubmitRequested):
            self._free -= self._cost(self._state.trials[event.trial_id])

    def limited(self, demand: Demand) -> Demand:
        """``demand``, or no more jobs if another attempt does not fit."""
        return replace(demand, needs=(), more_expected=False) if self.refused else demand

    def newly_warned(self, state: ExperimentState, now: float) -> str:
        """The warning, if the user is to be warned now for the first time; else ""."""
        self.look(state, now)
        if self.budget is None or not self.budget.warned(self.held) or self.budget.warned(state.budget_held):
            return ""
        return f"hpctune: {self.budget.words(self.held)}: no new trial starts that could pass the budget."

    def used_up(self, state: ExperimentState, root: object) -> e.ExperimentStopRequested | None:
        """The event if the budget allows no further attempt, and no live one could leave something of its part."""
        if self.budget is None or not self.refused or state.live or state.stopping is not None:
            return None
        more = f"hpctune resume {quoted(root)} --budget {self.budget.amount * 2:g}{self.budget.unit}"
        needs = f", and another trial may need {self._needs:.3g}" if self._needs > 0 else ""
        return e.ExperimentStopRequested(f"budget used up: {self.budget.words(self.held)}{needs}. More: {more}")

    def _held(self, state: ExperimentState, now: float) -> float:
        by_workers: Callable[[float], Iterable[tuple[Resources, float]]] | None = getattr(self._cluster, "held", None)
        held = state.held_time.totals(now) if by_workers is None else by_workers(now)
        return sum(self._rate(kind) * seconds for kind, seconds in held) / 3600

    def _cost(self, trial: Trial) -> float:
        return self._rate(trial.resources) * self._expected_s(trial, trial.resources) / 3600

    def _expected_s(self, trial: Trial | None, resources: Resources) -> float:
        """For how many more seconds an attempt may hold its job; 0 if nothing is known.

        As long as the longest trial that is over, or up to its time limit if that is sooner. Before any trial is over:
        its time limit, else as long as the longest that runs.
        """
        times, now = self._state.held_time, self._now
        so_far = times.of(trial.trial_id, now) if trial is not None else 0.0
        limit = self._limit_s(trial, resources)
        usual = times.longest_s - so_far
        if times.longest_s and (usual > 0 or limit is None):
            return max(min(usual, limit if limit is not None else usual), 0.0)
        if limit is not None:
            return limit
        longest = max((times.of(trial_id, now) for trial_id in times.live), default=0.0)
        return max(longest - so_far, 0.0)

    def _limit_s(self, trial: Trial | None, resources: Resources) -> float | None:
        """Seconds until the time limit of an attempt; None if none is known."""
        attempt = trial.attempt if trial is not None else None
        if attempt is not None and attempt.ends_at is not None:
            return max(attempt.ends_at - self._now, 0.0)
        minutes = self._time_limit_minutes
        return None if minutes is None else minutes * 60 * resources.time_factor

    @property
    def _time_limit_minutes(self) -> int | None:
        options = getattr(getattr(self._cluster, "options", None), "time_minutes", None)
        return options if isinstance(options, int) else None

    def _rate(self, resources: Resources) -> float:
        kind = repr(resources)
        if kind not in self._rates:
            spec = self._spec
            amounts = amounts_of(resources, spec.cluster, spec.cluster_options)
            memory = memory_mib(resources, spec.cluster, spec.cluster_options)
            assert self.budget is not None
            self._rates[kind] = self.budget.rate(amounts, memory)
        return self._rates[kind]
