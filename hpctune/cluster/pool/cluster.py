"""A ``Cluster`` of long-lived workers: its jobs are assignments to workers, which are jobs of the cluster it wraps.

To the engine each assignment is a job, such as ``w0003.17``. All essential state is in ``workers/``, so that any later
driver finds the workers and their assignments: nothing runs twice, nothing is lost. See docs/decisions/0009-pool.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.pool.sizing import WorkerShape, fits, kind_for
from hpctune.cluster.pool.worker import AssignmentState, TrialTimings, WorkerView
from hpctune.cluster.pool.workers import WorkerSet
from hpctune.errors import ClusterUnavailableError, RequestRejectedError, StorageError
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome
from hpctune.model.pool import ASSIGNMENT, Assignment
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock, Cluster, Demand
from hpctune.storage import permissions
from hpctune.storage.layout import ExperimentPaths

HANDOVER_S = 0.25
"""Seconds that a hand-over of the next trial to a free worker may take. The shorter the trials are in comparison, the
more of them are prefetched."""
SHORT_TRIAL_S = 25.0
"""Trials longer than this many seconds are not prefetched: the hand-over takes less than a hundredth of their time."""
MAX_AHEAD = 8
"""Trials that are prefetched for one place at most."""
OUTPUTS_WITHIN_S, OUTPUTS_AT_MOST = 10.0, 1000
"""Output files that stayed empty are removed after this many seconds, or after this many trials."""
REBALANCE_AFTER_S = 1.0
"""A prefetched trial is taken back if another worker has been idle for this many seconds."""


class PooledCluster:
    """The workers of one experiment on the cluster ``inner``."""

    def __init__(
        self, inner: Cluster, experiment_dir: Path, experiment_id: str, options: PoolOptions, clock: Clock
    ) -> None:
        self.inner, self.options, self._clock = inner, options, clock
        self.name = inner.name
        self.poll_s, self.quiet_poll_s = options.poll_s, options.quiet_poll_s
        self._paths = ExperimentPaths(experiment_dir.absolute())
        self._timings = TrialTimings()
        self._workers = WorkerSet(inner, self._paths, experiment_id, options, clock, self._timings)
        self._demand: Demand | None = None
        """None: this object belongs to a process that is not a driver and only reads."""
        self._displaced: list[AssignmentState] = []
        """Assignments without a worker: their worker is gone, or has returned them."""
        self._waits_since: float | None = None
        self._outputs: list[tuple[str, str]] = []
        """Output files of tidied assignments. The empty ones will be removed."""
        self._outputs_looked_at = float("-inf")

    # -- the port ------------------------------------------------------------------------------------------------

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError if no worker for such trials could ever run."""
        self.inner.check(self._kind(resources).job)

    def demand(self, demand: Demand) -> None:
        """Take what the experiment could use now in addition to what it has."""
        self._demand = demand
        if demand.finished:
            with contextlib.suppress(ClusterUnavailableError, StorageError):
                self._workers.resize(demand, self._displaced)
                self._publish()

    def room(self, resources: Resources) -> int:
        """How many assignments the workers can take now: free places, and a few to prefetch if trials are short."""
        if self._workers.startup_failure:
            return 1  # so that a submission is tried and its refusal states the reason
        free = sum(self._free(worker, ahead=True) for worker in self._takers(resources))
        return max(0, free - len(self._displaced))

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Give each request to the worker with the most free places."""
        outcomes = [self._submit(request) for request in requests]
        try:
            self._publish()
        except StorageError as error:
            raise ClusterUnavailableError(str(error)) from error
        return outcomes

    def _submit(self, request: JobRequest) -> SubmitOutcome:
        self._workers.avoid = request.avoid
        if self._workers.startup_failure:
            return Refused(self._workers.startup_failure, permanent=True)
        takers = list(self._takers(request.resources))
        worker = max(takers, key=lambda w: self._free(w, ahead=True), default=None)
        if worker is None or self._free(worker, ahead=True) < 1:
            try:
                self.check(request.resources)
            except RequestRejectedError as error:
                return Refused(str(error), permanent=True)
            except ClusterUnavailableError as error:
                return Refused(str(error), permanent=False)
            return Refused("No worker is free now.", permanent=False)
        assignment = Assignment(
            0, str(request.tag), tuple(request.command), str(request.stdout), str(request.stderr), dict(request.env)
        )
        return Accepted(worker.give(request.tag, assignment, request.resources, self._clock.now()).job_id)

    def jobs(self) -> list[JobStatus]:
        """Every assignment that is not tidied, and every job of the experiment that is not a worker.

        While the cluster does not answer, the states come from the workers' own files.
        """
        try:
            self._workers.look()
            self._collect()
            if self._demand is not None:
                self._reassign_displaced()
                self._rebalance()
                self._workers.resize(self._demand, self._displaced)
                self._publish()
        except StorageError as error:
            raise ClusterUnavailableError(str(error)) from error
        waiting = [
            JobStatus(entry.job_id, entry.tag, JobState.PENDING, "waits for a worker") for entry in self._displaced
        ]
        return [
            *self._workers.unmanaged_jobs,
            *(s for w in self._workers.workers.values() for s in w.statuses()),
            *waiting,
        ]

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these assignments. Their workers and other assignments go on."""
        assignments, others = _split(job_ids)
        for job_id, name, number in assignments:
            worker = self._workers.workers.get(name)
            if worker is not None:
                worker.cancel(number)
            for entry in [e for e in self._displaced if e.job_id == job_id]:
                self._displaced.remove(entry)
                entry.state, entry.reason = JobState.CANCELLED, "cancelled"
                self._workers.keep(entry)
        try:
            self._publish()
        except StorageError as error:
            raise ClusterUnavailableError(str(error)) from error
        if others:
            self.inner.cancel(others)

    def preview(self, request: JobRequest) -> str:
        """The job of a worker, and the command that it runs for the trial."""
        job = self._workers.request("w0001", self._kind(request.resources))
        return f"{self.inner.preview(job)}\n# runs one trial after another, each as: {' '.join(request.command)}\n"

    def stats(self) -> CallStats:
        """Numbers of calls of the wrapped cluster's commands."""
        return self.inner.stats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Forget these assignments. Their empty output files are removed soon."""
        assignments, others = _split(job_ids)
        for _, name, number in assignments:
            worker = self._workers.workers.get(name)
            entry = worker.entries.get(number) if worker is not None else None
            if worker is not None and entry is not None and entry.state.final:
                del worker.entries[entry.number]
                self._outputs.append(entry.output)
        over = self._demand is not None and self._demand.finished
        lately = 0 <= self._clock.now() - self._outputs_looked_at <= OUTPUTS_WITHIN_S
        if over or not lately or len(self._outputs) > OUTPUTS_AT_MOST:
            self._remove_empty_outputs()
        self.inner.tidy(others)

    def _remove_empty_outputs(self) -> None:
        self._outputs_looked_at = self._clock.now()
        for path in (path for paths in self._outputs for path in paths if path and path != os.devnull):
            permissions.remove_if_empty(path)
        self._outputs.clear()

    def close(self) -> None:
        """Close the wrapped cluster. Workers go on."""
        self.inner.close()

    @property
    def all_workers_prefetched(self) -> bool:
        """Whether every usable worker has a prefetched trial behind those that run."""
        workers = [worker for worker in self._workers.workers.values() if worker.usable]
        return bool(workers) and all(len(worker.held) > worker.kind.slots for worker in workers)

    @property
    def kills_within_s(self) -> float:
        """Seconds from a cancel until a process is killed."""
        return self.options.kill_wait_s

    @property
    def trouble(self) -> str:
        """Why the cluster does not answer; "" if it does. The workers go on meanwhile."""
        return self._workers.outage

    def summary(self) -> str:
        """A short summary of the workers, for people."""
        return self._workers.summary()

    def held(self, now: float) -> list[tuple[Resources, float]]:
        """The resources of each worker's job, and the seconds for which it was held until ``now``."""
        return self._workers.held(now)

    def queue(self) -> str:
        """A short summary of the queue waits of the workers' jobs."""
        return self._workers.outlook.summary()

    # -- assigning trials to workers -----------------------------------------------------------------------------

    def _kind(self, resources: Resources) -> WorkerShape:
        return kind_for(resources, self.options.trials_per_worker)

    def _takers(self, resources: Resources) -> Iterator[WorkerView]:
        """The workers that may take such a trial now, busy or not."""
        for worker in self._workers.workers.values():
            if self._may_take(worker, resources):
                yield worker

    def _may_take(self, worker: WorkerView, resources: Resources) -> bool:
        avoided = worker.node in self._workers.avoid
        in_time = self._workers.outlook.has_time(worker, self._clock.now())
        return worker.usable and not avoided and fits(worker.kind, resources) and in_time

    def _free(self, worker: WorkerView, *, ahead: bool) -> int:
        places = worker.kind.slots * (1 + (self._ahead() if ahead else 0))
        return max(0, places - len(worker.held))

    def _ahead(self) -> int:
        """How many prefetched trials a place may have: as many as it would finish during one hand-over, at least 1."""
        prefetchable = self._demand is not None and self._demand.prefetchable
        wanted = prefetchable if self.options.prefetch is None else self.options.prefetch
        durations = self._timings.durations
        if not wanted or not durations:
            return 0
        mean = sum(durations) / len(durations)
        return 0 if mean > SHORT_TRIAL_S else max(1, min(MAX_AHEAD, round(HANDOVER_S / max(mean, 1e-6))))

    def _collect(self) -> None:
        for worker in self._workers.workers.values():
            self._displaced += worker.displaced
            worker.displaced.clear()

    def _reassign_displaced(self) -> None:
        """Give assignments that lost their worker to another worker."""
        for entry in list(self._displaced):
            assert entry.assignment is not None
            if self._workers.has(entry.tag):
                self._displaced.remove(entry)  # an earlier driver has already moved it
                continue
            able = [w for w in self._takers(entry.resources) if self._free(w, ahead=False)]
            if not able:
                return
            best = max(able, key=lambda w: self._free(w, ahead=False))
            self._displaced.remove(entry)
            best.give(entry.tag, entry.assignment, entry.resources, self._clock.now())
            best.publish(self._clock.now())  # before the worker that had it forgets it

    def _rebalance(self) -> None:
        """Take back a trial that waits behind another one while some worker is idle."""
        now = self._clock.now()
        workers = [w for w in self._workers.workers.values() if w.usable]
        idle = any(self._free(w, ahead=False) for w in workers)
        behind = [w for w in workers if len(w.held) > w.kind.slots]
        if not (idle and behind):
            self._waits_since = None
            return
        self._waits_since = now if self._waits_since is None else self._waits_since
        if now - self._waits_since > REBALANCE_AFTER_S:
            fullest = max(behind, key=lambda w: len(w.held))
            last = max((e for e in fullest.held if e.state is JobState.PENDING), key=lambda e: e.number, default=None)
            if last is not None:
                fullest.retract(last.number)

    def _publish(self) -> None:
        now = self._clock.now()
        for worker in self._workers.workers.values():
            if worker.run >= 0:
                worker.publish(now)


def _split(job_ids: Sequence[str]) -> tuple[list[tuple[str, str, int]], list[str]]:
    """The assignments among ``job_ids``, as id, worker and number; and the ids of jobs of the wrapped cluster."""
    found = [(job_id, ASSIGNMENT.fullmatch(job_id)) for job_id in job_ids]
    return [(i, m[1], int(m[2])) for i, m in found if m is not None], [i for i, m in found if m is None]
