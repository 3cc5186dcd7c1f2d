"""Observes the files of runs and the cluster's answers about jobs. It records events and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from hpctune.common.backoff import PollInterval
from hpctune.core.state import ExperimentState
from hpctune.core.transitions import as_event
from hpctune.errors import ClusterUnavailableError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.records import RunRecord
from hpctune.model.trial import Attempt, Phase, Trial
from hpctune.ports import Cluster
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail

Record = Callable[[e.Event], bool]
"""Record an event. Returns False if it was not new."""


class RunWatcher:
    """Reads the run files of live attempts. The cost depends on the number of live attempts, not of all trials."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._paths = paths
        self.backlog: set[str] = set()
        """Trials with results not read yet by the last look, so that one trial with many does not delay the others."""
        self._tails: dict[str, tuple[RunTail, RunTail]] = {}
        """The readers of a trial's current run, and of the run that would supersede it, by trial."""

    def look(self, state: ExperimentState, record: Record, *, probe: bool) -> bool:
        """Record new events. ``probe``: check as well whether a restarted run has superseded the current one.

        Returns whether some run has ended for a reason that only the cluster knows.
        """
        awaiting_job_state = False
        self.backlog.clear()
        self._tails = {trial_id: tails for trial_id, tails in self._tails.items() if trial_id in state.active}
        for trial in state.active_trials():
            if trial.phase.live:
                self.look_at(state, trial.trial_id, record, probe=probe, some=True)
                attempt = state.trials[trial.trial_id].attempt
                awaiting_job_state |= attempt is not None and attempt.unexplained
            else:
                self._tails.pop(trial.trial_id, None)
        return awaiting_job_state

    def look_at(
        self, state: ExperimentState, trial_id: str, record: Record, *, probe: bool, some: bool = False
    ) -> None:
        """Record new events of one trial. ``some``: read only a limited amount.

        A run chooses its checkpoint among those that its predecessor recorded before the claim. So if there is a new
        run, these records of the predecessor are read before it is superseded.
        """
        trial = state.trials[trial_id]
        attempt = trial.attempt
        if attempt is None or attempt.over:
            return
        current, following = self._tails_of(trial, attempt)
        records: list[RunRecord] = []
        if attempt.restart < 0 or probe or trial.phase is Phase.QUEUED:
            records = following.read(some)
        if attempt.restart >= 0:
            self._drain(state, current.read(some and not records), record)
        if current.behind or following.behind:
            self.backlog.add(trial_id)
        if records:
            self._drain(state, records, record)
            follower = RunKey(trial_id, attempt.number, following.run.restart + 1)
            self._tails[trial_id] = (following, self._open(trial, follower))

    def _tails_of(self, trial: Trial, attempt: Attempt) -> tuple[RunTail, RunTail]:
        tails = self._tails.get(trial.trial_id)
        if tails is None or tails[0].run.attempt != attempt.number or tails[0].run.restart != attempt.restart:
            held = RunKey(trial.trial_id, attempt.number, attempt.restart)
            following = RunKey(trial.trial_id, attempt.number, attempt.restart + 1)
            tails = self._tails[trial.trial_id] = (self._open(trial, held), self._open(trial, following))
        return tails

    def _open(self, trial: Trial, run: RunKey) -> RunTail:
        return RunTail(self._paths.trial(trial.dirname).run(run.attempt, run.restart), run)

    @staticmethod
    def _drain(state: ExperimentState, records: Sequence[RunRecord], record: Record) -> None:
        for line in records:
            record(as_event(state.trials[line.run.trial_id], line, state.spec.checkpoint))


class JobWatcher:
    """Queries the cluster, not too often, and returns what changed. A failed query changes nothing."""

    def __init__(self, cluster: Cluster, now: float) -> None:
        self._cluster = cluster
        self.jobs: Sequence[JobStatus] = ()
        self.asked_at = float("-inf")
        self.outage: str = ""
        self._interval = PollInterval(cluster.poll_s, cluster.quiet_poll_s)
        self._due_at = now
        self._over_since: dict[tuple[str, int], float] = {}
        self._missing: dict[tuple[str, int], int] = {}

    @property
    def answered(self) -> bool:
        """Whether the cluster has ever answered."""
        return self.asked_at > float("-inf")

    def expect(self, now: float) -> None:
        """Query again after the shortest interval, because something is about to change."""
        self._due_at = min(self._due_at, now + self._interval.reset())

    def due(self, now: float) -> bool:
        """Whether the next query is due."""
        return now >= self._due_at

    def seconds_until_due(self, now: float) -> float:
        """Seconds until the next query is due."""
        return max(0.0, self._due_at - now)

    def ask(self, now: float) -> bool:
        """Query all jobs. Returns False if the cluster did not answer."""
        try:
            jobs = self._cluster.jobs()
        except ClusterUnavailableError as error:
            self.outage = str(error)
            self._due_at = now + self._interval.after_silence()
            return False
        changed = jobs != self.jobs
        self.jobs, self.asked_at, self.outage = jobs, now, ""
        self._due_at = now + self._interval.after_answer(changed)
        return True

    def state_changes(self, state: ExperimentState) -> Iterator[e.TrialEvent]:
        """The events in the last answer that are new for ``state``."""
        by_tag = {(j.tag.trial_id, j.tag.attempt): j for j in self.jobs}
        for trial in state.active_trials():
            attempt = trial.attempt
            if attempt is None or not trial.phase.live:
                continue
            job = by_tag.get((trial.trial_id, attempt.number))
            if attempt.over:
                yield from self._explained(trial, attempt, job)
            elif job is None:
                self._absent(trial, attempt)
            else:
                yield from self._present(trial, attempt, job)

    def _present(self, trial: Trial, attempt: Attempt, job: JobStatus) -> Iterator[e.TrialEvent]:
        key = (trial.trial_id, attempt.number)
        self._missing.pop(key, None)
        if attempt.job_id is None:
            yield e.SubmitAcknowledged(trial.trial_id, attempt.number, job.job_id)
        if job.state.final:
            self._over_since.setdefault(key, self.asked_at)
            return
        self._over_since.pop(key, None)
        if job.state is JobState.UNKNOWN:
            return
        known = (attempt.job_id, attempt.job_state, attempt.job_reason, attempt.nodes, attempt.ends_at)
        answered = (job.job_id, job.state, job.reason, job.nodes or attempt.nodes, job.ends_at)
        if known != answered:
            yield e.JobChanged(
                trial.trial_id, attempt.number, job.job_id, job.state, job.reason, job.nodes, job.ends_at
            )

    def _explained(self, trial: Trial, attempt: Attempt, job: JobStatus | None) -> Iterator[e.JobEnded]:
        """The end of the job of a run that ended on SIGTERM; nothing while the job still runs."""
        if not attempt.unexplained or self.asked_at < (attempt.left_at or 0.0):
            return
        state = JobState.LOST if job is None else JobState.PREEMPTED if job.state is JobState.PENDING else job.state
        if state.final:
            yield e.JobEnded(trial.trial_id, attempt.number, state, job.reason if job else "")

    def _absent(self, trial: Trial, attempt: Attempt) -> None:
        """Count a missing job. It is over after two answers without it, both queried after the submission."""
        if attempt.job_id is None or attempt.requested_at >= self.asked_at:
            return
        key = (trial.trial_id, attempt.number)
        self._missing[key] = self._missing.get(key, 0) + 1
        if self._missing[key] >= 2:
            self._over_since.setdefault(key, self.asked_at)

    def ended(
        self, state: ExperimentState, now: float, lag_s: float, backlog: Collection[str] = ()
    ) -> Iterator[e.JobEnded]:
        """The ends of jobs that have been over for ``lag_s`` seconds and whose run has no visible exit record.

        ``backlog``: trials whose records are still being read.
        """
        by_tag = {(j.tag.trial_id, j.tag.attempt): j for j in self.jobs}
        for key, since in list(self._over_since.items()):
            trial = state.trials[key[0]]
            attempt = trial.attempt
            if attempt is None or attempt.number != key[1] or attempt.over:
                del self._over_since[key]
            elif now - since >= lag_s and key[0] not in backlog:
                del self._over_since[key]
                job = by_tag.get(key)
                if job is None:
                    yield e.JobEnded(*key, JobState.LOST, "the cluster no longer knows it")
                else:
                    yield e.JobEnded(*key, job.state, self._why(job))

    def _why(self, job: JobStatus) -> str:
        """The cluster's reason; with the used memory and time if the job may have had too little and they are known."""
        usage = getattr(self._cluster, "usage", None)
        if usage is None or job.state not in (JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.FAILED):
            return job.reason
        return ", ".join(part for part in (job.reason, usage(job.job_id)) if part)
