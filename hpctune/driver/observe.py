"""Observation: what runs have written, what the cluster says of jobs. States facts; decides nothing."""

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
"""Record a fact; False when it was no news."""


class RunWatcher:
    """Tails the run files of live attempts. The cost of a look grows with them, not with all trials."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._paths = paths
        self.backlog: set[str] = set()
        """Trials of which the last look has left results to be read: one with many does not hold up the others."""
        self._tails: dict[str, tuple[RunTail, RunTail]] = {}
        """By trial: the run that holds the attempt, and the one that would supersede it."""

    def look(self, state: ExperimentState, record: Record, *, probe: bool) -> bool:
        """Record what is new. ``probe``: look as well whether a restarted run has superseded the one we follow.

        Returns whether a run has left for a reason that the cluster knows better.
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
        """Record what is new of one trial; ``some``: not too much at a time.

        A run chooses its checkpoint from what its predecessor had written before the claim; so, where there is a new
        run, that much of the predecessor is taken in before it is superseded.
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
    """Asks the cluster, not too often, and states what changed. A failed question states nothing."""

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
        """Whether the cluster has answered at all."""
        return self.asked_at > float("-inf")

    def expect(self, now: float) -> None:
        """Something is about to change: look again after the shortest interval."""
        self._due_at = min(self._due_at, now + self._interval.reset())

    def due(self, now: float) -> bool:
        """Whether it is time to ask."""
        return now >= self._due_at

    def seconds_until_due(self, now: float) -> float:
        """Seconds until the next question."""
        return max(0.0, self._due_at - now)

    def ask(self, now: float) -> bool:
        """One question about all jobs; False when no answer came."""
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
        """What the last answer says that ``state`` does not know."""
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
        said = (job.job_id, job.state, job.reason, job.nodes or attempt.nodes, job.ends_at)
        if known != said:
            yield e.JobChanged(
                trial.trial_id, attempt.number, job.job_id, job.state, job.reason, job.nodes, job.ends_at
            )

    def _explained(self, trial: Trial, attempt: Attempt, job: JobStatus | None) -> Iterator[e.JobEnded]:
        """What became of the job of a run that left on SIGTERM; nothing while it is still leaving."""
        if not attempt.unexplained or self.asked_at < (attempt.left_at or 0.0):
            return
        state = JobState.LOST if job is None else JobState.PREEMPTED if job.state is JobState.PENDING else job.state
        if state.final:
            yield e.JobEnded(trial.trial_id, attempt.number, state, job.reason if job else "")

    def _absent(self, trial: Trial, attempt: Attempt) -> None:
        """Not known to the cluster: believed after two answers, both asked for after the submission was confirmed."""
        if attempt.job_id is None or attempt.requested_at >= self.asked_at:
            return
        key = (trial.trial_id, attempt.number)
        self._missing[key] = self._missing.get(key, 0) + 1
        if self._missing[key] >= 2:
            self._over_since.setdefault(key, self.asked_at)

    def ended(
        self, state: ExperimentState, now: float, lag_s: float, backlog: Collection[str] = ()
    ) -> Iterator[e.JobEnded]:
        """Jobs that have been over for ``lag_s`` seconds without an exit record of their run having come to light;
        ``backlog``: trials whose records are still being read."""
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
                    yield e.JobEnded(*key, JobState.LOST, "not known any more")
                else:
                    yield e.JobEnded(*key, job.state, self._why(job))

    def _why(self, job: JobStatus) -> str:
        """The cluster's reason; with what was used, where a job had too little of something and it can be told."""
        usage = getattr(self._cluster, "usage", None)
        if usage is None or job.state not in (JobState.OUT_OF_MEMORY, JobState.TIMEOUT, JobState.FAILED):
            return job.reason
        return ", ".join(part for part in (job.reason, usage(job.job_id)) if part)
