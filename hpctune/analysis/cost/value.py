"""What early stopping saved, and what the best trial cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from hpctune.analysis.cost.runs import Cause
from hpctune.core.state import ExperimentState
from hpctune.model.progress import stopped_early
from hpctune.model.ranking import best_trial
from hpctune.model.trial import Phase, Trial
from hpctune.model.usage import Amounts

if TYPE_CHECKING:
    from hpctune.analysis.cost.ledger import Row

NOTHING = Amounts()
BY_ITERATIONS = "their mean time per iteration, times the iterations that were left"
BY_LENGTH = "the median length of the trials that ended by themselves, less their own"
BY_BOTH = f"{BY_ITERATIONS}; where the last iteration is not known, {BY_LENGTH}"


@dataclass(frozen=True, slots=True)
class Value:
    """``saved``: CPU, GPU and node hours that early stopping saved, an estimate. ``how``: how it was made. ``stopped``:
    how many trials were stopped early; ``unknown``: of how many of them the estimate is not possible. ``best``: the
    best trial, "" if there is none; ``best_cost``: the hours that its jobs held."""

    saved: Amounts = NOTHING
    how: str = BY_ITERATIONS
    stopped: int = 0
    unknown: int = 0
    best: str = ""
    best_cost: Amounts = NOTHING


def value_of(state: ExperimentState, rows: Iterable[Row]) -> Value:
    """What the search of ``state`` saved and what its best trial cost, by the rows of its ledger.

    What was saved is estimated without start-up and idle time, which do not grow with the iterations.
    """
    by_trial: dict[str, list[Row]] = defaultdict(list)
    whole: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.trial:
            whole[row.trial].append(row)
            if row.cause not in (Cause.STARTUP, Cause.IDLE):
                by_trial[row.trial].append(row)
    early = [t for t in state.trials.values() if _decided_by_a_policy(t, state)]
    usual = _usual_seconds(state, by_trial)
    saved, methods, unknown = Amounts(), set(), 0
    for trial in early:
        left = _seconds_left(trial, state, by_trial[trial.trial_id], usual)
        if left is None:
            unknown += 1
            continue
        methods.add(left[1])
        saved = _plus(saved, _typical(by_trial[trial.trial_id]).times(left[0] / 3600))
    how = BY_BOTH if len(methods) == 2 else next(iter(methods), BY_ITERATIONS)
    found = best_trial(state.trials.values(), state.spec.metric, state.spec.mode)
    best = found[1].trial_id if found is not None else ""
    return Value(saved, how, len(early), unknown, best, hours_held(whole[best]) if best else Amounts())


def hours_held(rows: Iterable[Row]) -> Amounts:
    """The CPU, GPU, node and billing hours that these rows held."""
    total = Amounts(billing=0.0)
    for row in rows:
        total = _plus(total, row.held.times(row.seconds / 3600))
    return total


def _plus(a: Amounts, b: Amounts) -> Amounts:
    billing = None if a.billing is None or b.billing is None else a.billing + b.billing
    return Amounts(a.cpus + b.cpus, a.gpus + b.gpus, a.nodes + b.nodes, billing)


def _decided_by_a_policy(trial: Trial, state: ExperimentState) -> bool:
    """Whether a scheduler or a stopper ended it early: not a user, nor the end of the whole experiment."""
    if not stopped_early(trial) or trial.started_at is None:
        return False
    whole = state.stopping.reason if state.stopping is not None else state.ended
    return trial.stop != whole and not (trial.stop or "").startswith(("stopped by hpctune", "skipped on resume"))


def _usual_seconds(state: ExperimentState, by_trial: dict[str, list[Row]]) -> float | None:
    """The median length of the trials that ended by themselves; None if there is none."""
    ended = [t for t in state.trials.values() if t.phase is Phase.TERMINATED and not stopped_early(t)]
    lengths = [length for t in ended if (length := _seconds(by_trial[t.trial_id])) > 0]
    return median(lengths) if lengths else None


def _seconds(rows: Sequence[Row]) -> float:
    return sum(row.seconds for row in rows)


def _seconds_left(
    trial: Trial, state: ExperimentState, rows: Sequence[Row], usual: float | None
) -> tuple[float, str] | None:
    """For how many more seconds the trial would have run, and how that is known; None if it is not."""
    seconds, last = _seconds(rows), _last_iteration(trial, state)
    if last is not None and trial.last_iteration > 0 and seconds > 0:
        return max(last - trial.last_iteration, 0.0) * seconds / trial.last_iteration, BY_ITERATIONS
    return (max(usual - seconds, 0.0), BY_LENGTH) if usual is not None and seconds > 0 else None


def _last_iteration(trial: Trial, state: ExperimentState) -> float | None:
    """The iteration at which it would have ended: the least that the scheduler and the stop criteria name."""
    named = [trial.ends_at_value] if trial.milestone_attr == "training_iteration" else []
    criterion = state.spec.criteria.get("training_iteration")
    named += [float(criterion)] if isinstance(criterion, (int, float)) else []
    return min((value for value in named if value is not None), default=None)


def _typical(rows: Sequence[Row]) -> Amounts:
    """What the trial held at a moment, on average."""
    seconds = _seconds(rows)
    total = hours_held(rows)
    return total.times(3600 / seconds) if seconds else Amounts()
