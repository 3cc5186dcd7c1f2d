"""``evolve(trial, event, at) -> trial``: the only writer of Phase. Pure; the event must be acceptable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from hpctune.common.checks import is_whole
from hpctune.core.change import changed
from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo
from hpctune.model.rows import STATED, number
from hpctune.model.trial import Attempt, CheckpointRef, Phase, Trial, VacateReason


def add(event: e.TrialAdded, at: float) -> Trial:
    """The new trial of ``event``."""
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
        until=event.until,
        origin=event.restore,
        restore=event.restore,
    )


def evolve(trial: Trial, event: e.TrialEvent, at: float, metric: str | None = None) -> Trial:
    """The trial after ``event``, recorded at ``at`` (Unix seconds). ``metric``: the experiment's, if it has one."""
    match event:
        case e.ResultReported():
            return _result(trial, event, metric, at)
        case e.SubmitRequested():
            attempt = Attempt(event.attempt, at, event.restore, base_results=trial.results)
            return changed(trial, phase=Phase.SUBMITTING, attempt=attempt, attempts=event.attempt)
        case e.SubmitRefused():
            waits = changed(trial, phase=Phase.PENDING, attempt=None, attempts=trial.attempts - 1, released_at=at)
            return changed(waits, not_before=event.not_before, reason=event.reason)
        case e.AttemptRevoked():
            revoked = changed(trial, phase=Phase.PENDING, attempt=None, reason=event.reason, released_at=at)
            return changed(revoked, leave=_still(trial))
        case e.StopRequested():
            return changed(trial, stop=event.reason, stop_at=at)
        case e.PauseRequested():
            return changed(trial, leave=VacateReason.PAUSE, stop_at=at)
        case e.ExploitRequested():
            return _exploit(trial, event, at)
        case e.ResourcesChanged():
            growths = trial.growths + event.growth
            return changed(trial, resources=event.resources, growths=growths, **_leaving(trial, VacateReason.MOVE, at))
        case e.MilestoneSet():
            told = {"milestone": event.value, "milestone_attr": event.attribute, "milestone_pause": event.pause}
            return changed(trial, **told, milestone_then=event.then, ends_at_value=event.end)
        case e.MilestoneAnswered():
            return changed(trial, answered=event.value)
        case e.RetryScheduled():
            return _retry(trial, event, at)
        case e.TrialPaused():
            paused = changed(trial, phase=Phase.PAUSED, attempt=None, leave=None, stop_at=None, released_at=at)
            return changed(paused, reason=event.reason)
        case e.TrialResumed():
            return changed(trial, phase=Phase.PENDING)
        case e.TrialEnded():
            ended = changed(trial, phase=event.phase, attempt=None, leave=None, ended_at=at, released_at=at)
            return changed(ended, reason=event.reason, error=event.error)
        case e.TrialFinalized():
            return changed(trial, finalized=True)
        case e.TrialReopened():
            return _reopen(trial, event)
        case e.CheckpointDeleted():
            return _forget(trial, event.name)
        case _:
            return _attempt(trial, event, at, metric)


_AttemptEvent = (
    e.SubmitAcknowledged | e.SubmitUnanswered | e.JobChanged | e.JobEnded | e.RunGivenUp | e.RunStarted | e.RunEnded
)


def _attempt(trial: Trial, event: _AttemptEvent, at: float, metric: str | None) -> Trial:
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
            reason = event.reason if attempt.outcome is None else attempt.reason
            return changed(trial, attempt=changed(attempt, ended=event.state, reason=reason))
        case e.RunStarted():
            started = changed(
                attempt,
                restart=event.run.restart,
                seq=0,
                job_id=event.job_id or attempt.job_id,
                uncertain_since=None,
                nodes=event.nodes or event.host,
                started_at=at,
                heard_at=at,
            )
            return changed(trial, phase=Phase.RUNNING, attempt=started, started_at=trial.started_at or at)
        case e.RunGivenUp():
            over = changed(attempt, ended=JobState.FAILED, error=event.error)
            return changed(trial, attempt=over, given_up=event.attempt)
        case e.RunEnded():
            over = changed(attempt, outcome=event.outcome, left_at=at, reason=event.reason, error=event.error)
            current = event.checkpoint is not None and event.checkpoint.iteration == trial.last_iteration
            row = trial.last if current else {}
            return changed(trial, attempt=over, **_saved(trial, event.checkpoint, row, metric))
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
        phase = Phase.QUEUED  # a running job that is pending again was requeued by Slurm
    return changed(trial, phase=phase, attempt=job)


def _result(trial: Trial, event: e.ResultReported, metric: str | None, at: float) -> Trial:
    attempt = trial.attempt
    assert attempt is not None
    attempt = changed(attempt, seq=event.seq, heard_at=at)
    saved = _saved(trial, event.checkpoint, event.row, metric)
    if event.verdict is not e.Verdict.COUNTED:
        overruns = trial.overruns + (event.verdict is e.Verdict.OVERRUN)
        return changed(trial, attempt=attempt, overruns=overruns, **saved)
    row = event.row
    return changed(
        trial,
        attempt=attempt,
        results=trial.results + 1,
        interruptions=0,
        last=row,
        last_iteration=iteration_of(row, trial.last_iteration + 1),
        stated=_stated(trial, row),
        seen_metric=trial.seen_metric or (metric is not None and number(row, metric) is not None),
        **saved,
    )


def _stated(trial: Trial, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the trial has stated of its configuration, with this result too."""
    names, config = row.get(STATED), row.get("config")
    if not names or not isinstance(config, Mapping):
        return trial.stated
    return {**trial.stated, **{name: config[name] for name in names if name in config}}


def iteration_of(row: Mapping[str, Any], default: int) -> int:
    """The training iteration in a row; ``default`` if it has none, or one that is not a whole number."""
    value = row.get("training_iteration")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if is_whole(value) else default


def _saved(trial: Trial, new: CheckpointRef | None, row: Mapping[str, Any], metric: str | None) -> dict[str, Any]:
    """The changes if ``new``, saved with the result ``row``, is the newest checkpoint: the next attempt starts from it.

    A checkpoint of the same name is replaced. If the trial must go on from another trial's checkpoint, its start does
    not change.
    """
    if new is None:
        return {}
    if metric is not None and (value := number(row, metric)) is not None:
        new = changed(new, metric=value)
    checkpoints = (*(c for c in trial.checkpoints if c.name != new.name), new)
    if trial.leave is VacateReason.REPLACE:
        return {"checkpoints": checkpoints}
    return {"checkpoints": checkpoints, "restore": f"{trial.dirname}/{new.name}", "restore_iteration": new.iteration}


def _forget(trial: Trial, name: str) -> Trial:
    """The trial without a deleted checkpoint. If that was its next start, it will start from the newest one left."""
    left = tuple(c for c in trial.checkpoints if c.name != name)
    if trial.restore != f"{trial.dirname}/{name}":
        return changed(trial, checkpoints=left)
    if not left:
        return changed(trial, checkpoints=left, restore=trial.origin, restore_iteration=0)
    restore = f"{trial.dirname}/{left[-1].name}"
    return changed(trial, checkpoints=left, restore=restore, restore_iteration=left[-1].iteration)


def _leaving(trial: Trial, leave: VacateReason, at: float) -> dict[str, Any]:
    """The changes for a trial that must vacate its job, if it has one."""
    return {"leave": leave, "stop_at": at} if trial.phase.live else {}


def _still(trial: Trial) -> VacateReason | None:
    """The order to vacate that remains after the job has ended: a pause."""
    return trial.leave if trial.leave is VacateReason.PAUSE else None


def _exploit(trial: Trial, event: e.ExploitRequested, at: float) -> Trial:
    """The trial with another start: its next results continue from the iteration of the copied checkpoint."""
    return changed(
        trial,
        config=event.config,
        evaluated=event.evaluated,
        stated={},
        tag=event.tag,
        restore=event.restore,
        restore_iteration=event.iteration,
        last_iteration=event.iteration,
        answered=None,
        interruptions=0,
        **_leaving(trial, VacateReason.REPLACE, at),
    )


def _retry(trial: Trial, event: e.RetryScheduled, at: float) -> Trial:
    attempt = trial.attempt
    progressed = attempt is not None and trial.results > attempt.base_results
    intended = trial.leave is not None
    error = attempt.error if attempt is not None else None
    return changed(
        trial,
        phase=Phase.PENDING,
        attempt=None,
        leave=_still(trial),
        stop_at=trial.stop_at if trial.stop is not None else None,
        failures=trial.failures + event.counts,
        interruptions=0 if event.counts or progressed or intended else trial.interruptions + 1,
        not_before=event.not_before,
        released_at=at,
        reason=event.reason,
        error=error,
        last_failure=(error or ErrorInfo(event.reason, "")) if event.counts else trial.last_failure,
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
        finalized=False,
        reason="",
        error=None,
        last_failure=None,
        ended_at=None,
    )
    if not event.restart:
        return again
    return changed(
        again,
        results=0,
        last={},
        last_iteration=0,
        stated={},
        seen_metric=False,
        checkpoints=(),
        overruns=0,
        restore=again.origin,
        restore_iteration=0,
        answered=None,
    )
