"""What follows from the state, as facts to record: verdicts on ended attempts, admissions, the end.

Every function is level-triggered: it looks at the state alone, so a crash between two records loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.errors import MetricError
from hpctune.model import events as e
from hpctune.model.ids import trial_id
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import flatten
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Attempt, Phase, Trial
from hpctune.search.base import EXHAUSTED, WAIT, Suggestion

MAX_INTERRUPTIONS = 5
"""Attempts in a row that may end without a new result and without fault of the trial, before it is given up."""

NewTrial = Callable[[int, str, Suggestion], e.TrialAdded]
"""(index, trial id, suggestion) -> the fact; names, directory and resources are the caller's choice."""


def judge(trial: Trial, spec: ExperimentSpec) -> e.TrialEvent | None:
    """What becomes of a trial whose attempt is over, or that is told to stop or pause while it has none."""
    attempt = trial.attempt
    if attempt is None:
        if trial.stop is not None and not trial.phase.final:
            return e.TrialEnded(trial.trial_id, Phase.TERMINATED, trial.stop)
        if trial.pause and trial.phase is Phase.PENDING:
            return e.TrialPaused(trial.trial_id, "paused before it ran")
        return None
    if not attempt.over:
        return None
    if trial.stop is not None and attempt.outcome is not Outcome.FAILED:
        return _completed(trial, trial.stop, spec)
    if attempt.outcome is not None:
        return _judge_outcome(trial, attempt, attempt.outcome, spec)
    return _judge_job(trial, attempt, attempt.ended or JobState.LOST, spec)


def _judge_outcome(trial: Trial, attempt: Attempt, outcome: Outcome, spec: ExperimentSpec) -> e.TrialEvent:
    match outcome:
        case Outcome.COMPLETED | Outcome.STOPPED:
            return _completed(trial, attempt.reason, spec)
        case Outcome.PAUSED:
            return e.TrialPaused(trial.trial_id, attempt.reason)
        case Outcome.INTERRUPTED | Outcome.REVOKED:
            return _interrupted(trial, attempt, attempt.reason)
        case Outcome.FAILED:
            return _failed(trial, attempt.error or ErrorInfo("Error", attempt.reason), spec)


def _judge_job(trial: Trial, attempt: Attempt, state: JobState, spec: ExperimentSpec) -> e.TrialEvent:
    where = f"job {attempt.job_id}" + (f" on {attempt.nodes}" if attempt.nodes else "")
    what = f"{where} ended as {state.value}" + (f" ({attempt.reason})" if attempt.reason else "")
    if state.interruption:
        return _interrupted(trial, attempt, what)
    if state is JobState.CANCELLED:
        hint = "The job was cancelled outside hpctune. Run it again: hpctune resume DIR --errored"
        return _ended_in_error(trial, ErrorInfo("JobCancelled", f"{what}. {hint}"))
    if state is JobState.OUT_OF_MEMORY:
        hint = "Ask for more memory: resources_per_trial={'memory': BYTES} or --mem."
        return _failed(trial, ErrorInfo("OutOfMemory", f"{what}. {hint}"), spec)
    return _failed(
        trial, ErrorInfo("JobFailed", f"{what} without saying why; its last words are in stderr and stdout"), spec
    )


def _completed(trial: Trial, reason: str, spec: ExperimentSpec) -> e.TrialEvent:
    if spec.metric is not None and trial.results and not trial.seen_metric:
        error = MetricError(spec.metric, [*flatten(trial.last)], "The metric")
        return _ended_in_error(trial, ErrorInfo("MetricError", str(error)))
    return e.TrialEnded(trial.trial_id, Phase.TERMINATED, reason)


def _interrupted(trial: Trial, attempt: Attempt, reason: str) -> e.TrialEvent:
    stuck = trial.results == attempt.base_results and trial.interruptions + 1 >= MAX_INTERRUPTIONS
    if stuck:
        message = (
            f"{MAX_INTERRUPTIONS} attempts in a row ended without a new result; the last: {reason}. Ask for more time "
            "(--time), or report and save checkpoints more often."
        )
        return _ended_in_error(trial, ErrorInfo("NoProgress", message))
    return e.RetryScheduled(trial.trial_id, reason, counts=False)


def _failed(trial: Trial, error: ErrorInfo, spec: ExperimentSpec) -> e.TrialEvent:
    retry = spec.max_failures < 0 or trial.failures < spec.max_failures
    if retry and trial.stop is None:
        return e.RetryScheduled(trial.trial_id, str(error), counts=True)
    return _ended_in_error(trial, error)


def _ended_in_error(trial: Trial, error: ErrorInfo) -> e.TrialEnded:
    return e.TrialEnded(trial.trial_id, Phase.ERROR, str(error), error)


def verdicts(state: ExperimentState) -> Iterator[e.Event]:
    """Verdicts on every active trial; an experiment that is stopping tells its trials so."""
    for trial in state.active_trials():
        if state.stopping is not None and trial.stop is None and not trial.phase.final:
            yield e.StopRequested(trial.trial_id, state.stopping.reason)
        event = judge(state.trials[trial.trial_id], state.spec)
        if event is not None:
            yield event


def consequences(state: ExperimentState, ended: Trial) -> e.ExperimentStopRequested | None:
    """Whether the end of one trial ends the experiment: ``fail_fast``, or a metric that no trial reports."""
    if ended.phase is not Phase.ERROR or ended.error is None or state.stopping is not None:
        return None
    if ended.error.kind == "MetricError" and not any(t.seen_metric for t in state.trials.values()):
        return e.ExperimentStopRequested(ended.error.message, fatal=True)
    if state.spec.fail_fast:
        return e.ExperimentStopRequested(f"fail_fast: trial {ended.name} failed: {ended.error}", fatal=False)
    return None


def budget(state: ExperimentState, driven_s: float) -> e.ExperimentStopRequested | None:
    """Whether the time budget is used up after ``driven_s`` seconds of driving."""
    limit = state.spec.time_budget_s
    if limit is None or state.stopping is not None or driven_s < limit:
        return None
    return e.ExperimentStopRequested(f"time budget of {limit:g} s used up")


def admit_one(
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
    if limit and state.live >= limit:
        return []
    waiting = [
        t
        for t in state.in_phase(Phase.PENDING, Phase.PAUSED)
        if t.phase is Phase.PAUSED or (t.stop is None and t.not_before <= now)
    ]
    chosen = policies.scheduler.choose(waiting) if waiting else None
    if chosen is not None:
        trial = state.trials[chosen]
        if room(trial.resources) < 1:
            return []
        resumed: list[e.Event] = [e.TrialResumed(chosen)] if trial.phase is Phase.PAUSED else []
        return [*resumed, _request(trial)]
    if state.exhausted or any(t.phase is Phase.PENDING and t.not_before <= now for t in waiting):
        return []
    return _suggest(state, policies, room, new_trial)


def _suggest(
    state: ExperimentState, policies: Policies, room: Callable[[Resources], int], new_trial: NewTrial
) -> list[e.Event]:
    if room(_typical(state)) < 1:
        return []
    index = len(state.trials)
    identity = trial_id(state.spec.experiment_id, index)
    suggestion = policies.search.suggest(index, identity)
    if suggestion is WAIT:
        return []
    if suggestion is EXHAUSTED:
        return [e.SearchExhausted("the searcher has no more suggestions")]
    assert isinstance(suggestion, Suggestion)
    return [new_trial(index, identity, suggestion)]


def _typical(state: ExperimentState) -> Resources:
    """The request of the newest trial: the best guess for the next one."""
    return next(reversed(state.trials.values())).resources if state.trials else Resources()


def _request(trial: Trial) -> e.SubmitRequested:
    return e.SubmitRequested(trial.trial_id, trial.attempts + 1, restore_of(trial))


def restore_of(trial: Trial) -> str | None:
    """Where the next attempt starts: the newest checkpoint (relative path), else what the trial was given."""
    newest = trial.newest_checkpoint
    return f"{trial.dirname}/{newest.name}" if newest is not None else trial.restore


def finished(state: ExperimentState) -> e.ExperimentEnded | None:
    """Whether every trial is over and settled and no more will come."""
    if state.ended is not None or state.active:
        return None
    if state.stopping is not None:
        return e.ExperimentEnded(state.stopping.reason)
    return e.ExperimentEnded("all trials are done") if state.exhausted else None
