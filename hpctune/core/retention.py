"""Which checkpoints are not needed any more: of one trial, and of all trials together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpctune.core.state import ExperimentState
from hpctune.model import actions as a
from hpctune.model.ranking import best, best_trial, pareto_front
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import CheckpointRef, Phase, Trial


def starting_points(state: ExperimentState) -> frozenset[str]:
    """Checkpoints (paths) from which a current attempt has started, or the next attempt of a trial would start.

    Trials that are over are included, because they may be reopened.
    """
    starts = ((t.restore, t.attempt.restore if t.attempt is not None else None) for t in state.active_trials())
    return frozenset([*(path for both in starts for path in both if path is not None), *state.borrowed.values()])


# -- one trial --------------------------------------------------------------------------------------------------------


def spare_of_trial(trial: Trial, policy: CheckpointPolicy, in_use: frozenset[str]) -> Iterator[a.DeleteCheckpoint]:
    """The checkpoints of a trial beyond the number that it may keep."""
    if policy.keep is None or len(trial.checkpoints) <= policy.keep:
        return
    kept = _kept(trial.checkpoints, policy)
    for checkpoint in trial.checkpoints:
        if checkpoint.name not in kept and f"{trial.dirname}/{checkpoint.name}" not in in_use:
            yield a.DeleteCheckpoint(trial.trial_id, checkpoint.name)


def _kept(checkpoints: Sequence[CheckpointRef], policy: CheckpointPolicy) -> frozenset[str]:
    """The names to keep: the best (or newest) ``keep`` ones, and always the newest, which restarts need."""
    return frozenset({checkpoints[-1].name, *best_names(checkpoints, policy)})


def best_names(checkpoints: Sequence[CheckpointRef], policy: CheckpointPolicy) -> list[str]:
    """The names of the best (or newest) ``keep`` ones, the best first."""
    ranked = list(reversed(checkpoints))
    if policy.score_attribute is not None:
        sign = 1.0 if policy.score_order == "max" else -1.0
        worst = float("-inf")
        ranked.sort(key=lambda c: worst if c.score is None or c.score != c.score else sign * c.score, reverse=True)
    return [c.name for c in ranked[: policy.keep]]


# -- all trials -------------------------------------------------------------------------------------------------------


def spare_of_all(state: ExperimentState, in_use: frozenset[str]) -> list[a.DeleteCheckpoint]:
    """The checkpoints to delete so that all trials together keep to their limits, as far as that is possible.

    First those go that a later one of their trial has replaced, from the lowest iteration on. Then those of trials that
    ended in good order, the worst trial first. Never removed are: what an attempt has started from, or would start
    from; the newest of each trial that is not over or has failed, because it may go on; the newest and the best of the
    best trial (with several metrics: of each trial on the Pareto front), and the best of all. If it is not known which
    trial is the best, each keeps its newest.
    """
    policy, totals = state.spec.checkpoint, state.checkpoints
    count = totals.count - policy.max_total if policy.max_total is not None else 0
    size = totals.bytes - policy.max_total_bytes if policy.max_total_bytes is not None else 0
    if count <= 0 and size <= 0:
        return []
    spare = []
    for trial, checkpoint in _by_worth(state, in_use):
        if count <= 0 and size <= 0:
            break
        if count <= 0 and not checkpoint.bytes:
            continue
        spare.append(a.DeleteCheckpoint(trial.trial_id, checkpoint.name))
        count, size = count - 1, size - (checkpoint.bytes or 0)
    return spare


def _by_worth(state: ExperimentState, in_use: frozenset[str]) -> list[tuple[Trial, CheckpointRef]]:
    """The checkpoints that may be removed, the least valuable first."""
    mode = state.spec.mode
    trials = [state.trials[trial_id] for trial_id in state.saved]
    leaders = _leaders(state)
    record = best(((c.metric, (t.trial_id, c.name)) for t in trials for c in t.checkpoints), mode)
    ranked: list[tuple[tuple[float, ...], Trial, CheckpointRef]] = []
    for trial in trials:
        newest, top = trial.checkpoints[-1], _best_of(trial, state)
        leads = trial.trial_id in leaders
        stays = trial.phase is not Phase.TERMINATED or not leaders or leads
        for checkpoint in trial.checkpoints:
            if f"{trial.dirname}/{checkpoint.name}" in in_use:
                continue
            if record is not None and record[1] == (trial.trial_id, checkpoint.name):
                continue
            if checkpoint is newest or checkpoint is top:
                if (stays and checkpoint is newest) or leads:
                    continue
                at = (1.0 + (checkpoint is newest and trial.phase is Phase.TERMINATED), _worth(trial, state))
            else:
                at = (0.0, float(checkpoint.iteration))
            ranked.append(((*at, float(trial.index)), trial, checkpoint))
    ranked.sort(key=lambda item: item[0])
    return [(trial, checkpoint) for _, trial, checkpoint in ranked]


def _leaders(state: ExperimentState) -> frozenset[str]:
    """The best trial, with several metrics those on the Pareto front; empty if that is not known."""
    spec = state.spec
    if spec.more_objectives:
        return frozenset(trial.trial_id for trial in pareto_front(state.trials.values(), spec.objectives))
    found = best_trial(state.trials.values(), spec.metric, spec.mode)
    return frozenset([found[1].trial_id] if found is not None else [])


def _best_of(trial: Trial, state: ExperimentState) -> CheckpointRef | None:
    """The best checkpoint of a trial: by the attribute of its retention, else by the metric; None if unknown."""
    policy = state.spec.checkpoint
    scored = policy.score_attribute is not None
    values = ((c.score if scored else c.metric, c) for c in reversed(trial.checkpoints))
    found = best(values, policy.score_order if scored else state.spec.mode)
    return found[1] if found is not None else None


def _worth(trial: Trial, state: ExperimentState) -> float:
    """The best value of a trial's checkpoints, greater is better; without one it is worth nothing."""
    found = best(((c.metric, c) for c in trial.checkpoints), state.spec.mode)
    if found is None:
        return float("-inf")
    return -found[0] if state.spec.mode == "min" else found[0]
