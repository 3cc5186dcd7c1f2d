"""Checks of jobs: jobs that no trial needs, and attempts without a job. Pure, except the query of the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpctune.cluster.slurm.sbatch import is_job_id
from hpctune.core.plan import View, plan
from hpctune.core.state import ExperimentState
from hpctune.errors import ClusterUnavailableError
from hpctune.model.actions import Cancel
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.trial import Phase
from hpctune.ports import Cluster
from hpctune.repair.checks.trial import Liveness
from hpctune.repair.findings import CancelJobs, Finding

SHOWN = 20


@dataclass(frozen=True, slots=True)
class JobsSeen:
    """``jobs`` None: the cluster was not asked, or did not answer, ``why``."""

    jobs: Sequence[JobStatus] | None
    asked_at: float = 0.0
    why: str = ""

    @property
    def live(self) -> Liveness:
        """Which trials may have a run."""
        if self.jobs is None:
            return Liveness(False)
        alive = [j for j in self.jobs if not j.state.final]
        return Liveness(True, frozenset((j.tag.trial_id, j.tag.attempt) for j in alive))


def ask(cluster: Cluster | None, now: float, why: str = "") -> JobsSeen:
    """One question about all jobs of the experiment."""
    if cluster is None:
        return JobsSeen(None, why=why)
    try:
        return JobsSeen(cluster.jobs(), now)
    except ClusterUnavailableError as error:
        return JobsSeen(None, why=str(error))


def check_jobs(state: ExperimentState, seen: JobsSeen, cluster: str, *, cancel: bool) -> Iterator[Finding]:
    """``cancel``: cancel jobs that no trial needs."""
    if seen.jobs is None:
        if seen.why:
            yield Finding("jobs", "jobs", f"not looked at: {seen.why}", "Jobs that may run are left alone", note=True)
        return
    wanted = {action.job_id: action.why for action in _cancels(state, seen)}
    unwanted = sorted((j for j in seen.jobs if j.job_id in wanted), key=lambda j: (len(j.job_id), j.job_id))
    if unwanted:
        ids = [job.job_id for job in unwanted]
        first = [f"{j.job_id} ({j.state.value.lower()}, {j.tag.trial_id}): {wanted[j.job_id]}" for j in unwanted[:3]]
        known_to_slurm = cluster == "slurm" and all(map(is_job_id, ids))
        line = f", or: scancel {' '.join(ids[:SHOWN])}" if known_to_slurm else ""
        action = "cancelled" if cancel else f"Cancel them with --cancel-orphans{line}"
        what = f"{len(ids)} {'job' if len(ids) == 1 else 'jobs'} that no trial needs: {'; '.join(first)}"
        yield Finding("orphaned job", "jobs", what, action, CancelJobs(tuple(ids)), held=not cancel)
    yield from _without_job(state, seen)


def _cancels(state: ExperimentState, seen: JobsSeen) -> list[Cancel]:
    """What the driver itself would cancel."""
    actions = plan(state, View(seen.asked_at, seen.jobs or (), seen.asked_at, {}))
    return [action for action in actions if isinstance(action, Cancel)]


def _without_job(state: ExperimentState, seen: JobsSeen) -> Iterator[Finding]:
    """Mends itself: the next driver finds that out in the same way."""
    known = {(j.tag.trial_id, j.tag.attempt): j.state for j in seen.jobs or ()}
    for trial in state.in_phase(Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING):
        attempt = trial.attempt
        if attempt is None or attempt.over:
            continue
        said = known.get((trial.trial_id, attempt.number))
        if said is None or (said.final and said is not JobState.COMPLETED):
            how = "was never claimed by a run" if attempt.restart < 0 else "left no exit record"
            what = f"attempt {attempt.number} {how}, and its job is {'not known' if said is None else said.value}"
            action = "hpctune resume continues it from its newest checkpoint"
            yield Finding("attempt without a job", trial.dirname, what, action, note=True)
