"""``evolve(trial, event, at) -> trial``: the only writer of Phase. Pure; trusts that the event is acceptable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from hpctune.core.change import changed
from hpctune.model import events as e
from hpctune.model.rows import lookup
from hpctune.model.trial import Attempt, CheckpointRef, Phase, Trial


def add(event: e.TrialAdded, at: float) -> Trial:
    """The trial that ``event`` brings into being."""
    return Trial(
        trial_id=event.trial_id,
        index=event.index,
        name=event.name,
        dirname=event.dirname,
        tag=event.tag,
        config=event.config,
        evaluated=event.evaluated,
        resources=event.resources,
        added_at=at,
        restore=event.restore,
    )


def evolve(trial: Trial, event: e.TrialEvent, at: float, metric: str | None = None) -> Trial:
    """The trial after ``event``, recorded at ``at`` (Unix seconds). ``metric``: the experiment's, if it has one."""
    match event:
        case e.ResultReported():
            return _result(trial, event, metric)
        case e.SubmitRequested():
            attempt = Attempt(event.attempt, at, event.restore, base_results=trial.results)
            return changed(trial, phase=Phase.SUBMITTING, attempt=attempt, attempts=event.attempt)
        case e.SubmitRefused():
            waits = changed(trial, phase=Phase.PENDING, attempt=None, attempts=trial.attempts - 1, released_at=at)
            return changed(waits, not_before=event.not_before, reason=event.reason)
        case e.AttemptRevoked():
            return changed(trial, phase=Phase.PENDING, attempt=None, reason=event.reason, released_at=at)
        case e.StopRequested():
            return changed(trial, stop=event.reason, stop_at=at)
        case e.PauseRequested():
            return changed(trial, pause=True, stop_at=at)
        case e.MilestoneSet():
            return changed(trial, milestone=event.value, milestone_attr=event.attribute)
        case e.MilestoneAnswered():
            return changed(trial, answered=event.value)
        case e.RetryScheduled():
            return _retry(trial, event, at)
        case e.TrialPaused():
            paused = changed(trial, phase=Phase.PAUSED, attempt=None, pause=False, stop_at=None, released_at=at)
            return changed(paused, reason=event.reason)
        case e.TrialResumed():
            return changed(trial, phase=Phase.PENDING)
        case e.TrialEnded():
            ended = changed(trial, phase=event.phase, attempt=None, pause=False, ended_at=at, released_at=at)
            return changed(ended, reason=event.reason, error=event.error)
        case e.TrialSettled():
            return changed(trial, settled=True)
        case e.TrialReopened():
            return _reopen(trial, event)
        case e.CheckpointDeleted():
            return changed(trial, checkpoints=tuple(c for c in trial.checkpoints if c.name != event.name))
        case _:
            return _attempt(trial, event, at)


_AttemptEvent = e.SubmitAcknowledged | e.SubmitUnanswered | e.JobChanged | e.JobEnded | e.RunStarted | e.RunEnded


def _attempt(trial: Trial, event: _AttemptEvent, at: float) -> Trial:
    attempt = trial.attempt
    if attempt is None:
        return trial
    match event:
        case e.SubmitAcknowledged():
            phase = Phase.QUEUED if trial.phase is Phase.SUBMITTING else trial.phase
            return changed(trial, phase=phase, attempt=changed(attempt, job_id=event.job_id, uncertain_since=None))
        case e.SubmitUnanswered():
            return changed(trial, attempt=changed(attempt, uncertain_since=at, reason=event.reason))
        case e.JobChanged():
            return _job_changed(trial, attempt, event)
        case e.JobEnded():
            return changed(trial, attempt=changed(attempt, ended=event.state, reason=event.reason))
        case e.RunStarted():
            started = changed(
                attempt,
                restart=event.run.restart,
                seq=0,
                job_id=event.job_id or attempt.job_id,
                uncertain_since=None,
                nodes=event.nodes or event.host,
                started_at=at,
            )
            return changed(trial, phase=Phase.RUNNING, attempt=started, started_at=trial.started_at or at)
        case e.RunEnded():
            over = changed(attempt, outcome=event.outcome, reason=event.reason, error=event.error)
            return changed(trial, attempt=over, checkpoints=_with(trial.checkpoints, event.checkpoint))
        case _:
            assert_never(event)


def _job_changed(trial: Trial, attempt: Attempt, event: e.JobChanged) -> Trial:
    job = changed(
        attempt,
        job_id=event.job_id,
        uncertain_since=None,
        job_state=event.state,
        job_reason=event.reason,
        nodes=event.nodes or attempt.nodes,
        ends_at=event.ends_at,
    )
    phase = trial.phase
    if phase is Phase.SUBMITTING or (phase is Phase.RUNNING and event.state.value == "PENDING"):
        phase = Phase.QUEUED  # in the second case Slurm has requeued it
    return changed(trial, phase=phase, attempt=job)


def _result(trial: Trial, event: e.ResultReported, metric: str | None) -> Trial:
    attempt = trial.attempt
    assert attempt is not None
    attempt = changed(attempt, seq=event.seq)
    checkpoints = _with(trial.checkpoints, event.checkpoint) if event.checkpoint else trial.checkpoints
    if event.verdict is not e.Verdict.COUNTED:
        overruns = trial.overruns + (event.verdict is e.Verdict.OVERRUN)
        return changed(trial, attempt=attempt, overruns=overruns, checkpoints=checkpoints)
    row = event.row
    return changed(
        trial,
        attempt=attempt,
        results=trial.results + 1,
        interruptions=0,
        last=row,
        last_iteration=iteration_of(row, trial.last_iteration + 1),
        seen_metric=trial.seen_metric or (metric is not None and lookup(row, metric) is not None),
        checkpoints=checkpoints,
    )


def iteration_of(row: Mapping[str, Any], default: int) -> int:
    """The training iteration that a row states; ``default`` where it states none that is a whole number."""
    value = row.get("training_iteration")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _with(checkpoints: tuple[CheckpointRef, ...], new: CheckpointRef | None) -> tuple[CheckpointRef, ...]:
    """The checkpoints with ``new`` as the newest; one of the same name is replaced."""
    if new is None:
        return checkpoints
    return (*(c for c in checkpoints if c.name != new.name), new)


def _retry(trial: Trial, event: e.RetryScheduled, at: float) -> Trial:
    attempt = trial.attempt
    progressed = attempt is not None and trial.results > attempt.base_results
    return changed(
        trial,
        phase=Phase.PENDING,
        attempt=None,
        failures=trial.failures + event.counts,
        interruptions=0 if event.counts or progressed else trial.interruptions + 1,
        not_before=event.not_before,
        released_at=at,
        reason=event.reason,
        error=attempt.error if attempt is not None else None,
    )


def _reopen(trial: Trial, event: e.TrialReopened) -> Trial:
    again = changed(
        trial,
        phase=Phase.PENDING,
        failures=0,
        interruptions=0,
        not_before=0.0,
        stop=None,
        stop_at=None,
        settled=False,
        reason="",
        error=None,
        ended_at=None,
    )
    if not event.restart:
        return again
    return changed(again, results=0, last={}, last_iteration=0, seen_metric=False, checkpoints=(), overruns=0)
