"""The events that follow from the state: the resolution of ended attempts, the start of trials, the end.

Each function depends on the current state alone, so a crash between two records loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from hpctune.common.text import quoted
from hpctune.core import failure_policy
from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.errors import UsageError, report_call
from hpctune.model import events as e
from hpctune.model.ids import trial_id
from hpctune.model.jobs import JobState
from hpctune.model.progress import ALL_DONE
from hpctune.model.records import REPORTED_NOTHING, ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import metric_error
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Attempt, Phase, Trial, VacateReason
from hpctune.search.base import EXHAUSTED, WAIT, Suggestion

_UNFINISHED = (Outcome.PAUSED, Outcome.INTERRUPTED, Outcome.REVOKED, Outcome.REPLACED)
_TOO_LITTLE = (JobState.OUT_OF_MEMORY, *(state for state in JobState if state.interruption))
_ENDS = {
    JobState.PREEMPTED: "was preempted",
    JobState.TIMEOUT: "reached its time limit",
    JobState.NODE_FAIL: "lost its node",
    JobState.COMPLETED: "was preempted or requeued",
}
LAST_WORD_S = 60.0
"""Seconds to wait for the cluster to tell why a job ended whose run received SIGTERM."""
MAX_BACKOFF_S = 300.0
"""The longest wait in seconds before the next attempt of a trial that fails repeatedly."""
MAX_INTERRUPTIONS = 5
"""A trial fails after this many attempts in a row that were interrupted without a new result."""
MAX_SILENT_TRIALS = 3
"""Trials that may end without any result before the search stops, if no trial has reported yet."""

NOT_RESUMED = "its scheduler does not resume it"
"""The stop reason of a paused trial that is never chosen again."""

NewTrial = Callable[[int, str, Suggestion], e.TrialAdded]
"""Takes index, trial id and suggestion; returns the event. The caller chooses names, directory and resources."""

Affords = Callable[[Trial | None, Resources], bool]
"""Takes the trial of an attempt (None: a new trial) and its resources; returns whether the budget allows it."""


def resolve_attempt(trial: Trial, spec: ExperimentSpec, now: float = math.inf) -> e.TrialEvent | None:
    """The event for a trial whose attempt is over, or that must stop or pause while it has none; None: nothing is due.

    A run that received SIGTERM may have been preempted or cancelled: this waits for the cluster's answer first.
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
    """Why a run ended: the cluster's answer about its job if there is one, else the reason that the run recorded."""
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
        asked = "" if trial.resources.memory_bytes is None else f" The request was {trial.resources.describe()}."
        hint = "Ask for more memory: resources_per_trial={'memory': BYTES} or --mem."
        return _failed(trial, ErrorInfo("OutOfMemory", f"{what}.{asked} {hint}"), spec, now)
    return _failed(
        trial, ErrorInfo("JobFailed", f"{what} without an exit record; see its stderr and stdout"), spec, now
    )


def _completed(trial: Trial, reason: str, spec: ExperimentSpec) -> e.TrialEvent:
    if spec.metric is not None and trial.results and not trial.seen_metric:
        error = metric_error(trial.last, spec.metric, "The metric")
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
    """The resolution of every active trial. If the experiment is stopping, its trials are told to stop."""
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
    """The event if the end of one trial ends the experiment: ``fail_fast``, or a metric that no trial reports."""
    if ended.phase is not Phase.ERROR or ended.error is None or state.stopping is not None:
        return None
    if ended.error.kind == "MetricError" and not any(t.seen_metric for t in state.trials.values()):
        return e.ExperimentStopRequested(ended.error.message, fatal=True)
    early_stop_reason = failure_policy.early_stop_reason(state, ended)
    if early_stop_reason is not None:
        hint = "Fix the error, then run: hpctune resume DIR --restart-errored"
        return e.ExperimentStopRequested(f"{early_stop_reason}. {hint}", fatal=False)
    if state.spec.fail_fast:
        return e.ExperimentStopRequested(f"fail_fast: trial {ended.name} failed: {ended.error}", fatal=False)
    return None


def never_reported(state: ExperimentState, root: str) -> e.ExperimentStopRequested | None:
    """The event if a metric is to be optimized and no trial reports anything.

    That is known when MAX_SILENT_TRIALS trials, or all that there are, have ended by themselves without a result.
    ``root``: the experiment's directory, for the message.
    """
    metric = state.spec.metric
    if metric is None or state.stopping is not None or not state.phases[Phase.TERMINATED]:
        return None
    if any(t.results for t in state.trials.values()):
        return None
    silent = [t for t in state.trials.values() if t.phase is Phase.TERMINATED and not t.results and t.stop is None]
    all_over = state.exhausted and not state.active and len(silent) == len(state.trials)
    if not silent or (len(silent) < MAX_SILENT_TRIALS and not all_over):
        return None
    trials = "The trial ended" if len(silent) == 1 else f"{len(silent)} trials ended"
    call = report_call(metric)
    first = silent[0]
    found = f" {first.trial_id}: {first.reason}." if first.reason.startswith(REPORTED_NOTHING) else ""
    logs = f"hpctune logs {quoted(root)} {first.trial_id}"
    return e.ExperimentStopRequested(
        f"{trials} without a result, and {metric!r} is to be optimized.{found} A function reports by {call} or by "
        f"returning a dict; a Command by a line 'hpctune: {metric}=...' in its output, or by parse=. "
        f"See what it printed: {logs}",
        fatal=True,
    )


def budget(state: ExperimentState, driven_s: float) -> e.ExperimentStopRequested | None:
    """The event if the time budget is used up after ``driven_s`` seconds of driving."""
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
    affords: Affords = lambda trial, resources: True,
) -> list[e.Event]:
    """The events that give one more trial a job; [] if that is not possible now, or not within the budget."""
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
    chosen = policies.choose(waiting, idle=False) if waiting else None
    if chosen is None:
        pending = any(t.phase is Phase.PENDING for t in waiting)
        added = [] if state.exhausted or pending else _suggest(state, policies, room, new_trial, affords)
        if added is None:
            return []  # the next free place is for a new trial
        if added or not waiting:
            return added
        chosen = policies.choose(waiting, idle=True)
    if chosen is None:
        return _stranded(state, waiting)
    if not any(t.trial_id == chosen for t in waiting):
        raise UsageError(
            f"{type(policies.scheduler).__name__}.choose returned {chosen!r}, which is not the id of a waiting trial."
        )
    trial = state.trials[chosen]
    if not affords(trial, trial.resources) or room(trial.resources) < 1:
        return []
    resumed: list[e.Event] = [e.TrialResumed(chosen)] if trial.phase is Phase.PAUSED else []
    return [*resumed, e.SubmitRequested(chosen, trial.attempts + 1, trial.restore)]


def _stranded(state: ExperimentState, waiting: Sequence[Trial]) -> list[e.Event]:
    """Stop the paused trials if nothing can ever make the scheduler choose them again."""
    if not state.exhausted or state.live or len(waiting) < state.phases[Phase.PENDING] + state.phases[Phase.PAUSED]:
        return []
    return [e.StopRequested(t.trial_id, NOT_RESUMED) for t in waiting]


def never_resumed(state: ExperimentState, policies: Policies) -> list[e.Event]:
    """Stop the paused trials that the scheduler cannot choose again, whatever is still to come.

    That is known only after the last trial of the search. They end now, so that what they hold is not kept for them.
    """
    if not state.exhausted or state.stopping is not None or not state.phases[Phase.PAUSED]:
        return []
    lost = frozenset(policies.never_resumed([trial for trial in state.active_trials() if trial.until is None]))
    paused = (trial for trial in state.in_phase(Phase.PAUSED) if trial.trial_id in lost and trial.stop is None)
    return [e.StopRequested(trial.trial_id, NOT_RESUMED) for trial in paused]


def _suggest(
    state: ExperimentState,
    policies: Policies,
    room: Callable[[Resources], int],
    new_trial: NewTrial,
    affords: Affords,
) -> list[e.Event] | None:
    """The event for a new trial, or for the end of the search; [] if there is no new trial now; None if no room
    or no budget for one."""
    index, total = len(state.trials), policies.search.total
    if total is None or state.suggested < total:
        typical = _typical(state)
        if not affords(None, typical) or room(typical) < 1:
            return None
    identity = trial_id(state.spec.experiment_id, index)
    suggestion = policies.search.suggest(state.suggested, identity)
    if suggestion is WAIT:
        return []
    if suggestion is EXHAUSTED:
        return [e.SearchExhausted("the searcher has no more suggestions")]
    assert isinstance(suggestion, Suggestion)
    return [new_trial(index, identity, policies.completed(index, suggestion))]


def _typical(state: ExperimentState) -> Resources:
    """The resources of the newest trial, as the best estimate for the next one."""
    return next(reversed(state.trials.values())).resources if state.trials else Resources()


def finished(state: ExperimentState) -> e.ExperimentEnded | None:
    """The event if every trial is over and finalized, and no more are expected."""
    if state.ended is not None or state.active or state.unfinalized:
        return None
    if state.stopping is not None:
        return e.ExperimentEnded(state.stopping.reason)
    return e.ExperimentEnded(ALL_DONE) if state.exhausted else None
