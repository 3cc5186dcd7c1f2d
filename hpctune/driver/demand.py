"""Computes the demand for a cluster that grows and shrinks: how many jobs the experiment could use now."""

from __future__ import annotations

from collections.abc import Callable

from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.driver.setup import DriverSetup
from hpctune.model.resources import Resources
from hpctune.model.trial import Phase
from hpctune.ports import NO_DEMAND, Demand

ENDLESS = 1_000_000
"""Stands for an unknown number of suggestions."""


def compute_demand(
    state: ExperimentState, policies: Policies, setup: DriverSetup, room: Callable[[Resources], int]
) -> Demand:
    """The jobs that the experiment could use in addition to those it has.

    Call after admission: whatever was not admitted is unmet demand. If there is room and nothing was admitted (the
    searcher or scheduler waits for results), there is no demand now.
    """
    if state.stopping is not None or state.ended is not None:
        return NO_DEMAND
    prefetchable = getattr(policies.search, "learns", True) is False
    waiting = state.phases[Phase.PENDING] + state.phases[Phase.PAUSED]
    total = policies.search.total
    coming = 0 if state.exhausted else ENDLESS if total is None else max(0, total - state.suggested)
    more_expected = bool(waiting or coming)
    limit = state.spec.max_concurrent
    allowed = limit - state.live if limit else ENDLESS
    needs: list[tuple[Resources, int]] = []
    for resources, count in [*_waiting(state, policies), (_typical(state, setup), coming)]:
        count = min(count, allowed)
        if count > 0 and room(resources) < 1:
            needs.append((resources, count))
            allowed -= count
    return Demand(tuple(needs), more_expected, prefetchable)


def _waiting(state: ExperimentState, policies: Policies) -> list[tuple[Resources, int]]:
    """The resources of waiting trials: of pending ones, and of paused ones if the scheduler would resume one."""
    if not state.phases[Phase.PENDING] and not state.phases[Phase.PAUSED]:
        return []
    trials = state.in_phase(Phase.PENDING, Phase.PAUSED)
    chosen = policies.scheduler.choose(trials, idle=True)
    counts: list[tuple[Resources, int]] = []
    for trial in trials:
        if trial.phase is Phase.PAUSED and (chosen is None or state.trials[chosen].phase is not Phase.PAUSED):
            continue
        if counts and counts[-1][0] == trial.resources:
            counts[-1] = (trial.resources, counts[-1][1] + 1)
        else:
            counts.append((trial.resources, 1))
    return counts


def _typical(state: ExperimentState, setup: DriverSetup) -> Resources:
    """The resources of the next new trial, as far as they are known."""
    if not callable(setup.resources):
        return Resources.parse(setup.resources)
    return next(reversed(state.trials.values())).resources if state.trials else Resources()
