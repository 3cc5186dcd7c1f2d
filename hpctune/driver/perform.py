"""Performs the actions of the plan: every side effect of the driver. Each is idempotent and results in events."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence

from hpctune.core.plan import ControlVersion, control_of, orders
from hpctune.core.retention import starting_points
from hpctune.core.state import ExperimentState
from hpctune.driver.observe import Record
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.model import actions as a, events as e
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.records import ErrorInfo
from hpctune.model.trial import Phase, Trial
from hpctune.ports import NO_DEMAND, Clock, Cluster
from hpctune.storage import checkpoints, permissions, run_file
from hpctune.storage.control_file import ControlFile
from hpctune.storage.layout import ExperimentPaths, TrialPaths

SUBMISSIONS_A_STEP = 100
"""Submissions in one step at most, so that results are read in between."""
CANCEL_AGAIN_S = 15.0
"""Seconds after which a cancel is repeated."""
REFUSED_AGAIN_S = 30.0
"""Seconds after which a refused submission is repeated."""
JOB_EXIT_S = 10.0
"""At the end of the experiment, a job is cancelled if it has not ended this many seconds after its run."""
_DONE_WITH = re.compile(r"run-.*\.jsonl|\.run-.*\.new|\..*\.tmp")
"""Files that a finished trial no longer needs. The hidden ones are left by drivers and runs that were killed."""


class Performer:
    """Performs the actions of the plan for one experiment."""

    def __init__(
        self, paths: ExperimentPaths, state: ExperimentState, cluster: Cluster, clock: Clock, env: dict[str, str]
    ) -> None:
        self._paths, self._state, self._cluster, self._clock, self._env = paths, state, cluster, clock, env
        self.published: dict[str, ControlVersion] = {}
        self._controls: dict[str, ControlFile] = {}
        self.jobs_of: dict[str, list[str]] = {}
        """Ids of the jobs that each unfinalized trial has had."""
        self.cleanup_pending: set[str] = set()
        """Ids of jobs of finished trials whose files may still exist."""
        self._ended: set[str] = set()
        """Ids of such jobs if the end of the trial is not durable yet."""
        self._cancelled_at: dict[str, float] = {}

    def take(self, event: e.Event) -> None:
        """Remember the jobs of each trial."""
        if isinstance(event, (e.SubmitAcknowledged, e.JobChanged)):
            jobs = self.jobs_of.setdefault(event.trial_id, [])
            if event.job_id not in jobs:
                jobs.append(event.job_id)
        elif isinstance(event, e.TrialEnded):
            self._ended.update(self.jobs_of.get(event.trial_id, []))
        elif isinstance(event, e.TrialReopened):
            self._ended.difference_update(self.jobs_of.get(event.trial_id, []))
            self.cleanup_pending.difference_update(self.jobs_of.get(event.trial_id, []))
        elif isinstance(event, e.TrialFinalized):
            self.jobs_of.pop(event.trial_id, None)

    def begin(self) -> None:
        """Call after the replay of the journal: jobs of finalized trials were tidied by earlier drivers."""
        self._ended = {job for t in self._state.unfinalized_trials() for job in self.jobs_of.get(t.trial_id, [])}

    def durable(self) -> None:
        """Call after all events so far have become durable."""
        self.cleanup_pending |= self._ended
        self._ended.clear()

    def perform(self, actions: Sequence[a.Action], record: Record) -> bool:
        """Perform the actions. Returns whether there were any.

        Those for which runs wait come first. Submissions and cancellations are one batch each.
        """
        submits = [x for x in actions if isinstance(x, a.Submit)][:SUBMISSIONS_A_STEP]
        now = self._clock.now()
        cancels = [x for x in actions if isinstance(x, a.Cancel) and self._cancel_due(x.job_id, now)]
        urgent = (a.PublishControl, a.Revoke)
        for action in actions:
            if isinstance(action, urgent):
                self._one(action, record)
        if submits:
            self._submit(submits, record)
        if cancels:
            self._cancel(list(dict.fromkeys(c.job_id for c in cancels)), now)
        for action in actions:
            if not isinstance(action, urgent):
                self._one(action, record)
        return bool(actions)

    def _one(self, action: a.Action, record: Record) -> None:
        match action:
            case a.PublishControl():
                self._publish(self._state.trials[action.trial_id])
            case a.Revoke():
                self._revoke(action, record)
            case a.DeleteCheckpoint():
                trial = self._state.trials[action.trial_id]
                checkpoints.delete(self._paths.trial(trial.dirname).checkpoint(action.name))
                record(e.CheckpointDeleted(action.trial_id, action.name))
            case a.Finalize():
                self._finalize(self._state.trials[action.trial_id], record)
            case a.Submit() | a.Cancel():
                pass  # these are performed in batches

    def request_for(self, trial: Trial) -> JobRequest:
        """The job of the trial's current (or first) attempt."""
        spec, paths = self._state.spec, self._paths.trial(trial.dirname)
        number = trial.attempt.number if trial.attempt is not None else 1
        return JobRequest(
            tag=Tag(spec.experiment_id, trial.trial_id, number),
            name=trial.name,
            command=(sys.executable, "-u", "-m", "hpctune.worker", str(self._paths.root), trial.dirname, str(number)),
            resources=trial.resources,
            stdout=paths.root / (spec.stdout or os.devnull),
            stderr=paths.root / (spec.stderr or os.devnull),
            env=self._env,
            avoid=tuple(self._state.bad_nodes(spec.failure_policy.exclude_nodes_after))
            if spec.failure_policy.exclude_nodes_after
            else (),
        )

    def _publish(self, trial: Trial) -> None:
        control = control_of(trial, self._state.spec, str(self._paths.root))
        file = self._controls.get(trial.trial_id)
        if file is None:
            file = self._controls[trial.trial_id] = ControlFile(self._paths.trial(trial.dirname).control)
        file.publish(control)
        self.published[trial.trial_id] = orders(trial)

    def _submit(self, submits: Sequence[a.Submit], record: Record) -> None:
        trials = [self._state.trials[s.trial_id] for s in submits]
        for trial in trials:
            self._publish(trial)
        try:
            outcomes: Sequence[SubmitOutcome] = self._cluster.submit([self.request_for(t) for t in trials])
        except ClusterUnavailableError as error:
            outcomes = [Unanswered(str(error))] * len(trials)
        for trial, outcome in zip(trials, outcomes, strict=True):
            self._answer(trial, outcome, record)

    def _answer(self, trial: Trial, outcome: SubmitOutcome, record: Record) -> None:
        assert trial.attempt is not None
        number = trial.attempt.number
        match outcome:
            case Accepted():
                record(e.SubmitAcknowledged(trial.trial_id, number, outcome.job_id))
            case Unanswered():
                record(e.SubmitUnanswered(trial.trial_id, number, outcome.reason))
            case Refused(permanent=False):
                again = self._clock.now() + REFUSED_AGAIN_S
                record(e.SubmitRefused(trial.trial_id, number, outcome.reason, False, again))
            case Refused():
                self._never(trial, number, outcome.reason, record)

    def _never(self, trial: Trial, number: int, reason: str, record: Record) -> None:
        """Handle a permanent refusal. If no job was ever accepted, it ends the whole experiment."""
        record(e.SubmitRefused(trial.trial_id, number, reason, True))
        if self._state.jobs_accepted:
            error = ErrorInfo("RequestRejectedError", reason)
            record(e.TrialEnded(trial.trial_id, Phase.ERROR, reason, error))
        else:
            record(e.ExperimentStopRequested(reason, fatal=True))

    def _revoke(self, action: a.Revoke, record: Record) -> None:
        run, now = action.run, self._clock.now()
        trial = self._state.trials[run.trial_id]
        directory = self._paths.trial(trial.dirname)
        try:
            permissions.make_directory(directory.text, exist_ok=True)
            ours = run_file.revoke(directory.run(run.attempt, run.restart), run, now)
        except OSError as error:
            raise StorageError(f"Cannot write in {directory.root}: {error.strerror or error}.") from error
        if ours:
            record(e.AttemptRevoked(run.trial_id, run.attempt, action.reason))

    def tidy(self, jobs: Sequence[JobStatus]) -> None:
        """Remove the files of jobs that no trial needs and that are over by the cluster's answer ``jobs``."""
        over_ids = {job.job_id for job in jobs if self._is_over(job.tag.trial_id)}
        self.cleanup_pending |= over_ids - self._ended
        if self.cleanup_pending:
            over = self.cleanup_pending - {job.job_id for job in jobs if not job.state.final}
            self._cluster.tidy(sorted(over))
            self.cleanup_pending -= over

    def _is_over(self, trial_id: str) -> bool:
        trial = self._state.trials.get(trial_id)
        return trial is not None and trial.phase.final

    def sweep(self) -> None:
        """At the end of the experiment: wait until its jobs have ended, and cancel those that do not end.

        If the cluster does not answer in that time, they end by themselves when they start.
        """
        deadline = self._clock.now() + JOB_EXIT_S
        killed_by = deadline + getattr(self._cluster, "kills_within_s", 0.0)
        tell = getattr(self._cluster, "demand", None)
        if tell is not None:
            tell(NO_DEMAND)
        while True:
            late = self._clock.now() >= deadline
            try:
                jobs = self._cluster.jobs()
                self.tidy(jobs)
                left = [job for job in jobs if not job.state.final]
                unwanted = [job.job_id for job in left if late or job.state is JobState.PENDING]
                if unwanted:
                    self._cluster.cancel(unwanted)
                if not left or self._clock.now() >= killed_by:
                    # Also when no job was left to tidy: there may be scripts of jobs that the cluster has forgotten.
                    self._cluster.tidy(sorted(self.cleanup_pending))
                    return
            except ClusterUnavailableError:
                if late:
                    return
            self._clock.sleep(min(1.0, self._cluster.poll_s))

    def _cancel_due(self, job_id: str, now: float) -> bool:
        return now - self._cancelled_at.get(job_id, float("-inf")) >= CANCEL_AGAIN_S

    def _cancel(self, job_ids: list[str], now: float) -> None:
        with contextlib.suppress(ClusterUnavailableError):  # the plan repeats it until the jobs are gone
            self._cluster.cancel(job_ids)
            self._cancelled_at.update(dict.fromkeys(job_ids, now))

    def _finalize(self, trial: Trial, record: Record) -> None:
        directory = self._paths.trial(trial.dirname)
        try:
            _remove(directory.control)  # first, because with it and without their claims, runs could begin
            for name in filter(_DONE_WITH.fullmatch, names := directory.names()):
                _remove(directory.at(name))
            checkpoints.tidy(directory, names)
            if self._state.spec.checkpoint.limited and trial.phase is Phase.TERMINATED:
                self._remove_unreported(trial, directory, names)
        except OSError as error:
            raise StorageError(f"Cannot tidy {directory.root}: {error.strerror or error}.") from error
        self.published.pop(trial.trial_id, None)
        self._controls.pop(trial.trial_id, None)
        record(e.TrialFinalized(trial.trial_id))

    def _remove_unreported(self, trial: Trial, directory: TrialPaths, names: list[str]) -> None:
        """Delete checkpoints that killed runs saved without a result."""
        known = {checkpoint.name for checkpoint in trial.checkpoints}
        for checkpoint in checkpoints.unreported(directory, names, known):
            if f"{trial.dirname}/{checkpoint.name}" not in starting_points(self._state):
                checkpoints.delete(checkpoint)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
