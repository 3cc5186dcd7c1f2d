"""Which events a trial accepts: the table of legal phases, the fencing of old runs, the verdict on a reported row."""

from __future__ import annotations

from hpctune.core.evolve import iteration_of
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Exit, ResultRow
from hpctune.model.rows import number
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import Attempt, CheckpointRef, Phase, Trial, VacateReason

_LIVE = frozenset({Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING})
_UNENDED = frozenset(Phase) - {Phase.TERMINATED, Phase.ERROR}

LEGAL: dict[type[e.TrialEvent], frozenset[Phase]] = {
    e.SubmitRequested: frozenset({Phase.PENDING}),
    # A run may claim, and results may arrive, before the submission is acknowledged or squeue says "running".
    e.SubmitAcknowledged: _LIVE,
    e.SubmitRefused: frozenset({Phase.SUBMITTING}),
    e.SubmitUnanswered: frozenset({Phase.SUBMITTING}),
    e.AttemptRevoked: frozenset({Phase.SUBMITTING, Phase.QUEUED}),
    e.JobChanged: _LIVE,
    e.JobEnded: _LIVE,
    e.RunGivenUp: frozenset({Phase.RUNNING}),
    e.RunStarted: _LIVE,
    # QUEUED: Slurm has requeued the job while the last records of the ended run are still being read.
    e.ResultReported: frozenset({Phase.RUNNING, Phase.QUEUED}),
    e.RunEnded: frozenset({Phase.RUNNING, Phase.QUEUED}),
    e.StopRequested: _UNENDED,
    e.PauseRequested: _UNENDED,
    e.ExploitRequested: _UNENDED,
    e.ResourcesChanged: _UNENDED,
    e.MilestoneSet: _UNENDED,
    e.MilestoneAnswered: _UNENDED,
    e.RetryScheduled: _LIVE,
    e.TrialPaused: _LIVE | {Phase.PENDING},
    e.TrialResumed: frozenset({Phase.PAUSED}),
    e.TrialEnded: _UNENDED,
    e.TrialFinalized: frozenset({Phase.TERMINATED, Phase.ERROR}),
    e.TrialReopened: frozenset({Phase.TERMINATED, Phase.ERROR}),
    e.CheckpointDeleted: frozenset(Phase),
}


def acceptable(trial: Trial, event: e.TrialEvent) -> bool:
    """Whether ``event`` is new and valid for ``trial``: legal in its phase, of its current attempt and run, no repeat.

    Other events are not recorded, such as a late result of a superseded run or a job of an attempt that is over.
    """
    if trial.phase not in LEGAL[type(event)]:
        return False
    match event:
        case e.SubmitRequested():
            return event.attempt == trial.attempts + 1
        case e.ResultReported():
            return _holds(trial, event.run) and trial.attempt is not None and event.seq > trial.attempt.seq
        case e.RunEnded():
            return _holds(trial, event.run)
        case e.RunStarted():
            attempt = _current(trial, event.run.attempt)
            return attempt is not None and event.run.restart > attempt.restart
        case e.SubmitAcknowledged():
            attempt = _current(trial, event.attempt)
            return attempt is not None and attempt.job_id != event.job_id
        case e.SubmitRefused() | e.SubmitUnanswered() | e.AttemptRevoked() | e.JobChanged() | e.RunGivenUp():
            return _current(trial, event.attempt) is not None
        case e.JobEnded():
            attempt = trial.attempt
            return attempt is not None and attempt.number == event.attempt and (not attempt.over or attempt.unexplained)
        case e.RetryScheduled():
            return trial.attempt is not None and trial.attempt.over
        case e.StopRequested():
            return trial.stop is None
        case e.PauseRequested():
            return trial.leave is None and trial.phase is not Phase.PAUSED
        case e.ExploitRequested() | e.ResourcesChanged():
            return trial.stop is None and trial.leave is not VacateReason.REPLACE
        case e.TrialFinalized():
            return not trial.finalized
        case e.CheckpointDeleted():
            return any(c.name == event.name for c in trial.checkpoints)
        case _:
            return True


def _current(trial: Trial, number: int) -> Attempt | None:
    attempt = trial.attempt
    return attempt if attempt is not None and attempt.number == number and not attempt.over else None


def _holds(trial: Trial, run: RunKey) -> bool:
    attempt = trial.attempt
    if attempt is None or attempt.restart < 0 or attempt.over:
        return False
    return run.attempt == attempt.number and run.restart == attempt.restart and run.trial_id == trial.trial_id


def classify_row(trial: Trial, row: ResultRow, policy: CheckpointPolicy) -> e.ResultReported:
    """The event for a row. A row counts once per iteration, and not after a decision to stop or to exploit a trial.

    After a decision to pause, rows count: the trial goes on later after these results and does not repeat them.
    """
    iteration = iteration_of(row.row, trial.last_iteration + 1)
    if iteration <= trial.last_iteration:
        verdict = e.Verdict.REPEATED
    elif trial.stop is not None or trial.leave is VacateReason.REPLACE:
        verdict = e.Verdict.OVERRUN
    else:
        verdict = e.Verdict.COUNTED
    checkpoint = None
    if row.checkpoint is not None:
        attribute = policy.score_attribute
        score = number(row.row, attribute) if attribute else None
        checkpoint = CheckpointRef(row.checkpoint, iteration, score, row.checkpoint_bytes)
    return e.ResultReported(row.run, row.seq, row.row, verdict, checkpoint)


def as_event(trial: Trial, record: Claim | ResultRow | Exit, policy: CheckpointPolicy) -> e.TrialEvent:
    """The event for a record of a run file. Whether it is new for the trial is the task of :func:`acceptable`."""
    match record:
        case ResultRow():
            return classify_row(trial, record, policy)
        case Claim():
            began = record.job_began
            return e.RunStarted(record.run, record.job_id, record.host, record.pid, record.nodes, record.at, began)
        case Exit():
            final = None
            if record.checkpoint:
                size = record.checkpoint_bytes
                final = CheckpointRef(record.checkpoint, record.checkpoint_iteration, bytes=size)
            return e.RunEnded(record.run, record.outcome, record.reason, record.error, final, record.at)
