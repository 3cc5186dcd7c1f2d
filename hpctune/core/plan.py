"""``plan(state, view) -> actions``: the actions that are due now. Idempotent; depends on states, not on transitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpctune.core.retention import spare_of_all, spare_of_trial, starting_points
from hpctune.core.state import ExperimentState
from hpctune.model import actions as a
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.records import Control
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial, VacateReason


@dataclass(frozen=True, slots=True)
class View:
    """The driver's knowledge besides the state.

    ``now``: the time. ``jobs``: the last answer of the cluster, queried at ``jobs_asked_at`` (both in Unix seconds).
    ``published``: the orders in the control files. ``tidy``: whether to remove now what finished trials no longer need.
    """

    now: float
    jobs: Sequence[JobStatus]
    jobs_asked_at: float
    published: Mapping[str, ControlVersion]
    tidy: bool = True


def plan(state: ExperimentState, view: View) -> list[a.Action]:
    """All actions that are due now."""
    in_use = starting_points(state) if state.spec.checkpoint.limited else frozenset()
    actions: list[a.Action] = []
    for trial in state.active_trials():
        actions += spare_of_trial(trial, state.spec.checkpoint, in_use)
        actions += _owed(trial, state.spec, view)
    for trial in state.unfinalized_trials() if view.tidy else ():
        actions += spare_of_trial(trial, state.spec.checkpoint, in_use)
        actions.append(a.Finalize(trial.trial_id))
    if view.tidy:
        actions += spare_of_all(state, in_use)
    actions += _orphans(state, view)
    return actions


def _owed(trial: Trial, spec: ExperimentSpec, view: View) -> Iterator[a.Action]:
    attempt = trial.attempt
    if attempt is None or attempt.over:
        return
    unwanted = trial.stop is not None or trial.leave is not None
    next_run = RunKey(trial.trial_id, attempt.number, attempt.restart + 1)
    if trial.phase is Phase.SUBMITTING:
        if attempt.uncertain_since is None and not unwanted:
            yield a.Submit(trial.trial_id, attempt.number)
        # A missing job counts only in an answer that was requested after the submission became uncertain.
        elif attempt.uncertain_since is None or view.jobs_asked_at > attempt.uncertain_since:
            yield a.Revoke(next_run, trial.stop or "its submission was never confirmed and no job has its tag")
        return
    if trial.phase is Phase.QUEUED and unwanted:
        yield a.Revoke(next_run, trial.stop or "it is to go on elsewhere, or later")
        if attempt.job_id is not None and _still_its_own(attempt.job_id, trial, view):
            yield a.Cancel(attempt.job_id, "its trial is to stop before it runs")
        return
    if attempt.job_id and _disobeys(trial, spec, view.now) and _still_its_own(attempt.job_id, trial, view):
        yield a.Cancel(attempt.job_id, f"it did not obey for {spec.stop_grace_s:g} s")
    if orders(trial) != view.published.get(trial.trial_id):
        yield a.PublishControl(trial.trial_id)


def _still_its_own(job_id: str, trial: Trial, view: View) -> bool:
    """Whether no other trial has that job. A controller that lost its state may assign a job id again."""
    return all(job.tag.trial_id == trial.trial_id for job in view.jobs if job.job_id == job_id)


def _disobeys(trial: Trial, spec: ExperimentSpec, now: float) -> bool:
    return trial.phase is Phase.RUNNING and trial.stop_at is not None and now - trial.stop_at > spec.stop_grace_s


ControlVersion = tuple[int, str | None, VacateReason | None, float | None, float | None, float | None]
"""The parts of a trial's control file that change: attempt, stop, leave, milestone, answered, milestone_then."""


def orders(trial: Trial) -> ControlVersion:
    """The version of the control file that must be published now."""
    number = trial.attempt.number if trial.attempt is not None else 0
    return (number, trial.stop, trial.leave, trial.milestone, trial.answered, trial.milestone_then)


def control_of(trial: Trial, spec: ExperimentSpec, root: str) -> Control:
    """The control record for the trial's current attempt. ``root``: the experiment directory."""
    attempt = trial.attempt
    assert attempt is not None
    restore = attempt.restore
    if restore is not None and not restore.startswith("/"):
        restore = f"{root}/{restore}"
    return Control(
        experiment_id=spec.experiment_id,
        trial_id=trial.trial_id,
        trial_name=trial.name,
        experiment_tag=trial.tag,
        attempt=attempt.number,
        config=trial.config,
        resources=trial.resources.to_json(),
        restore=restore,
        criteria=spec.criteria,
        metric=spec.metric,
        checkpoint_frequency=spec.checkpoint.frequency,
        checkpoint_at_end=spec.checkpoint.at_end,
        export_formats=spec.export_formats,
        stop=trial.stop,
        leave=trial.leave.value if trial.leave is not None else None,
        milestone=trial.milestone,
        milestone_attr=trial.milestone_attr,
        milestone_pause=trial.milestone_pause,
        milestone_then=trial.milestone_then,
        ends_at_value=trial.ends_at_value,
        undecided=spec.undecided,
        decision_timeout_s=spec.decision_timeout_s,
        answered=trial.answered,
    )


def _orphans(state: ExperimentState, view: View) -> Iterator[a.Action]:
    """Cancel jobs of this experiment that no attempt needs: revoked submissions, requeued jobs of old attempts."""
    for job in view.jobs:
        if job.state.final or job.state is JobState.COMPLETING:
            continue
        trial = state.trials.get(job.tag.trial_id)
        attempt = trial.attempt if trial is not None else None
        # If a run ended on a signal, the cluster must tell why. A cancel would hide the reason.
        if attempt is not None and attempt.number == job.tag.attempt and (not attempt.over or attempt.unexplained):
            continue
        # A worker that has just written its exit record needs a moment to exit; a pending job does not. An answer from
        # before the end of the attempt does not count.
        hangs = trial is not None and trial.given_up == job.tag.attempt
        grace_s = 0.0 if job.state is JobState.PENDING or hangs else state.spec.stop_grace_s
        if trial is None or view.jobs_asked_at - trial.released_at > grace_s:
            yield a.Cancel(job.job_id, "no attempt of any trial needs it")
