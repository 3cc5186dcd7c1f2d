"""What follows from the state, as facts to record: resolve_attempts on ended attempts, admissions, the end.

Every function is level-triggered: it looks at the state alone, so a crash between two records loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from hpctune.core import failure_policy
from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.errors import MetricError, UsageError
from hpctune.model import events as e
from hpctune.model.ids import trial_id
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import flatten
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Attempt, Phase, Trial, VacateReason
from hpctune.search.base import EXHAUSTED, WAIT, Suggestion

_UNFINISHED = (Outcome.PAUSED, Outcome.INTERRUPTED, Outcome.REVOKED, Outcome.REPLACED)
_TOO_LITTLE = (JobState.OUT_OF_MEMORY, *(state for state in JobState if state.interruption))
_ENDS = {
    JobState.PREEMPTED: "was preempted",
    JobState.TIMEOUT: "came to its time limit",
    JobState.NODE_FAIL: "lost its node",
    JobState.COMPLETED: "was preempted, or requeued by somebody",
}
LAST_WORD_S = 60.0
"""How long the cluster may take to say what became of a job whose run left on SIGTERM."""
MAX_BACKOFF_S = 300.0
"""How long a trial that fails again and again waits before its next attempt, at most."""
MAX_INTERRUPTIONS = 5
"""Attempts in a row that may end without a new result and without fault of the trial, before it is given up."""

NewTrial = Callable[[int, str, Suggestion], e.TrialAdded]
"""(index, trial id, suggestion) -> the fact; names, directory and resources are the caller's choice."""


def resolve_attempt(trial: Trial, spec: ExperimentSpec, now: float = math.inf) -> e.TrialEvent | None:
    """What becomes of a trial whose attempt is over, or that is told to stop or pause while it has none.

    A run that left on SIGTERM may have been preempted, or cancelled by somebody: the cluster is heard on that first.
    """
    attempt = trial.attempt
    if attempt is None:
        if trial.stop is not None and not trial.phase.final:
            return e.TrialEnded(trial.trial_id, Phase.TERMINATED, trial.stop)
        if trial.leave is VacateReason.PAUSE and trial.phase is Phase.PENDING:
            return e.TrialPaused(trial.trial_id, "paused before it ran")
        return None
    if not attempt.over:
        return None
    if trial.stop is not None and attempt.outcome is not Outcome.FAILED:
        return _completed(trial, trial.stop, spec)
    if trial.leave is VacateReason.REPLACE:
        return e.RetryScheduled(trial.trial_id, "it goes on from another trial's checkpoint", counts=False)
    if trial.leave is VacateReason.MOVE and (attempt.outcome in _UNFINISHED or attempt.ended in _TOO_LITTLE):
        return _moves(trial)
    if attempt.outcome is Outcome.INTERRUPTED and attempt.ended is JobState.CANCELLED:
        return _judge_job(trial, attempt, attempt.ended, spec, now)
    if attempt.unexplained and now - (attempt.left_at or 0.0) < LAST_WORD_S:
        return None
    if attempt.outcome is not None:
        return _judge_outcome(trial, attempt, attempt.outcome, spec, now)
    return _judge_job(trial, attempt, attempt.ended or JobState.LOST, spec, now)


def _moves(trial: Trial) -> e.RetryScheduled:
    return e.RetryScheduled(trial.trial_id, f"it goes on with {trial.resources.describe()}", counts=False)


def _judge_outcome(trial: Trial, attempt: Attempt, outcome: Outcome, spec: ExperimentSpec, now: float) -> e.TrialEvent:
    match outcome:
        case Outcome.COMPLETED | Outcome.STOPPED:
            return _completed(trial, attempt.reason, spec)
        case Outcome.PAUSED:
            return e.TrialPaused(trial.trial_id, attempt.reason)
        case Outcome.INTERRUPTED | Outcome.REVOKED | Outcome.REPLACED:
            return _interrupted(trial, attempt, _told(attempt), spec)
        case Outcome.FAILED:
            return _failed(trial, attempt.error or ErrorInfo("Error", attempt.reason), spec, now)


def _told(attempt: Attempt) -> str:
    """Why a run left: what the cluster said of its job, where it did, rather than the signal that the run got."""
    words = _ENDS.get(attempt.ended) if attempt.ended is not None else None
    return attempt.reason if words is None else f"job {attempt.job_id} {words}"


def _judge_job(trial: Trial, attempt: Attempt, state: JobState, spec: ExperimentSpec, now: float) -> e.TrialEvent:
    where = f"job {attempt.job_id}" + (f" on {attempt.nodes}" if attempt.nodes else "")
    what = f"{where} ended as {state.value}" + (f" ({attempt.reason})" if attempt.reason else "")
    if attempt.error is not None:
        return _failed(trial, attempt.error, spec, now)
    if state.interruption:
        return _interrupted(trial, attempt, what, spec)
    if state is JobState.CANCELLED:
        hint = "The job was cancelled outside hpctune. Run it again: hpctune resume DIR --errored"
        return _ended_in_error(trial, ErrorInfo("JobCancelled", f"{what}. {hint}"))
    if state is JobState.OUT_OF_MEMORY:
        asked = "" if trial.resources.memory_bytes is None else f" It had asked for {trial.resources.describe()}."
        hint = "Ask for more memory: resources_per_trial={'memory': BYTES} or --mem."
        return _failed(trial, ErrorInfo("OutOfMemory", f"{what}.{asked} {hint}"), spec, now)
    return _failed(
        trial, ErrorInfo("JobFailed", f"{what} without saying why; its last words are in stderr and stdout"), spec, now
    )


def _completed(trial: Trial, reason: str, spec: ExperimentSpec) -> e.TrialEvent:
    if spec.metric is not None and trial.results and not trial.seen_metric:
        error = MetricError(spec.metric, [*flatten(trial.last)], "The metric")
        return _ended_in_error(trial, ErrorInfo("MetricError", str(error)))
    return e.TrialEnded(trial.trial_id, Phase.TERMINATED, reason)


def _interrupted(trial: Trial, attempt: Attempt, reason: str, spec: ExperimentSpec) -> e.TrialEvent:
    fruitless = trial.results == attempt.base_results
    if fruitless and (attempt.ended is JobState.TIMEOUT or attempt.reason.startswith("SIGUSR2")):
        more = failure_policy.grow_request(trial, spec.failure_policy, time=True)
        if more is not None:
            return more
    if fruitless and trial.interruptions + 1 >= MAX_INTERRUPTIONS:
        message = (
            f"{MAX_INTERRUPTIONS} attempts in a row ended without a new result; the last: {reason}. Ask for more time "
            "(--time), or report and save checkpoints more often."
        )
        return _ended_in_error(trial, ErrorInfo("NoProgress", message))
    return e.RetryScheduled(trial.trial_id, reason, counts=False)


def _failed(trial: Trial, error: ErrorInfo, spec: ExperimentSpec, now: float) -> e.TrialEvent:
    if error.kind in ("OutOfMemory", "MemoryError"):
        if trial.leave is VacateReason.MOVE:
            return _moves(trial)
        more = failure_policy.grow_request(trial, spec.failure_policy, memory=True)
        if more is not None:
            return more
    retry = spec.max_failures < 0 or trial.failures < spec.max_failures
    if retry and trial.stop is None:
        wait = min(2.0**trial.failures, MAX_BACKOFF_S) if trial.failures and now < math.inf else 0.0
        return e.RetryScheduled(trial.trial_id, str(error), counts=True, not_before=now + wait if wait else 0.0)
    return _ended_in_error(trial, error)


def _ended_in_error(trial: Trial, error: ErrorInfo) -> e.TrialEnded:
    return e.TrialEnded(trial.trial_id, Phase.ERROR, str(error), error)


def resolve_attempts(state: ExperimentState, now: float = math.inf) -> Iterator[e.Event]:
    """Verdicts on every active trial; an experiment that is stopping tells its trials so."""
    for trial in state.active_trials():
        if state.stopping is not None and trial.stop is None:
            yield e.StopRequested(trial.trial_id, state.stopping.reason)
        silent = failure_policy.detect_hang(trial, state.spec.failure_policy, now)
        if silent is not None:
            yield silent
        event = resolve_attempt(state.trials[trial.trial_id], state.spec, now)
        if event is not None:
            yield event


def consequences(state: ExperimentState, ended: Trial) -> e.ExperimentStopRequested | None:
    """Whether the end of one trial ends the experiment: ``fail_fast``, or a metric that no trial reports."""
    if ended.phase is not Phase.ERROR or ended.error is None or state.stopping is not None:
        return None
    if ended.error.kind == "MetricError" and not any(t.seen_metric for t in state.trials.values()):
        return e.ExperimentStopRequested(ended.error.message, fatal=True)
    early_stop_reason = failure_policy.early_stop_reason(state, ended)
    if early_stop_reason is not None:
        hint = "Mend it, then: hpctune resume DIR --restart-errored"
        return e.ExperimentStopRequested(f"{early_stop_reason}. {hint}", fatal=False)
    if state.spec.fail_fast:
        return e.ExperimentStopRequested(f"fail_fast: trial {ended.name} failed: {ended.error}", fatal=False)
    return None


def budget(state: ExperimentState, driven_s: float) -> e.ExperimentStopRequested | None:
    """Whether the time budget is used up after ``driven_s`` seconds of driving."""
    limit = state.spec.time_budget_s
    if limit is None or state.stopping is not None or driven_s < limit:
        return None
    return e.ExperimentStopRequested(f"time budget of {limit:g} s used up")


def admit_trial(
    state: ExperimentState,
    policies: Policies,
    room: Callable[[Resources], int],
    now: float,
    new_trial: NewTrial,
) -> list[e.Event]:
    """The facts by which one more trial gets a job, or [] when none can now."""
    if state.stopping is not None:
        return []
    limit = state.spec.max_concurrent
    if (limit and state.live >= limit) or failure_policy.canary_pending(state):
        return []
    waiting = [
        t
        for t in state.in_phase(Phase.PENDING, Phase.PAUSED)
        if t.stop is None and t.leave is None and (t.phase is Phase.PAUSED or t.not_before <= now)
    ]
    chosen = policies.scheduler.choose(waiting, idle=False) if waiting else None
    if chosen is None:
        pending = any(t.phase is Phase.PENDING for t in waiting)
        added = [] if state.exhausted or pending else _suggest(state, policies, room, new_trial)
        if added is None:
            return []  # the place that comes next is a new trial's
        if added or not waiting:
            return added
        chosen = policies.scheduler.choose(waiting, idle=True)
    if chosen is None:
        return _stranded(state, waiting)
    if not any(t.trial_id == chosen for t in waiting):
        raise UsageError(f"{type(policies.scheduler).__name__}.choose returned {chosen!r}: no trial that waits.")
    trial = state.trials[chosen]
    if room(trial.resources) < 1:
        return []
    resumed: list[e.Event] = [e.TrialResumed(chosen)] if trial.phase is Phase.PAUSED else []
    return [*resumed, e.SubmitRequested(chosen, trial.attempts + 1, trial.restore)]


def _stranded(state: ExperimentState, waiting: Sequence[Trial]) -> list[e.Event]:
    """Ends the paused trials where nothing can ever make the scheduler take them up again."""
    if not state.exhausted or state.live or len(waiting) < state.phases[Phase.PENDING] + state.phases[Phase.PAUSED]:
        return []
    return [e.StopRequested(t.trial_id, "its scheduler does not take it up again") for t in waiting]


def _suggest(
    state: ExperimentState, policies: Policies, room: Callable[[Resources], int], new_trial: NewTrial
) -> list[e.Event] | None:
    """The facts by which there is a new trial, or never will be one; [] where there is none now; None: no room."""
    index, total = len(state.trials), policies.search.total
    if room(_typical(state)) < 1 and (total is None or index < total):
        return None
    identity = trial_id(state.spec.experiment_id, index)
    suggestion = policies.search.suggest(index, identity)
    if suggestion is WAIT:
        return []
    if suggestion is EXHAUSTED:
        return [e.SearchExhausted("the searcher has no more suggestions")]
    assert isinstance(suggestion, Suggestion)
    return [new_trial(index, identity, policies.completed(index, suggestion))]


def _typical(state: ExperimentState) -> Resources:
    """The request of the newest trial: the best guess for the next one."""
    return next(reversed(state.trials.values())).resources if state.trials else Resources()


def finished(state: ExperimentState) -> e.ExperimentEnded | None:
    """Whether every trial is over and finalized and no more will come."""
    if state.ended is not None or state.active or state.unfinalized:
        return None
    if state.stopping is not None:
        return e.ExperimentEnded(state.stopping.reason)
    return e.ExperimentEnded("all trials are done") if state.exhausted else None
