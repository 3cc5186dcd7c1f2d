"""The set of workers of a pool: finds existing ones, requests new ones, watches them, and ends surplus ones."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from hpctune.cluster.pool.forecast import QueueForecast
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.pool.sizing import ScalePlan, WorkerShape, resize
from hpctune.cluster.pool.worker import AssignmentState, TrialTimings, WorkerView
from hpctune.common.backoff import PollInterval
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused
from hpctune.model.pool import WorkerSpec
from hpctune.model.resources import Resources
from hpctune.ports import Clock, Cluster, Demand
from hpctune.storage import permissions, worker_files
from hpctune.storage.layout import ExperimentPaths

WAITING_AT_MOST = 8
"""Workers whose jobs may wait in the queue at once, if the pool has no size of its own."""
BROKEN_AFTER = 3
"""After this many workers in a row that ended before they were ready, the start of workers counts as broken."""
GROW_AGAIN_S = 5.0
"""Pause in seconds before new requests after a refusal; doubled each time, up to MAX_PAUSE_S."""
UNNEEDED_PAUSE_S, MAX_PAUSE_S = 60.0, 3600.0
"""Pause in seconds before new requests after a worker that ended without any work; doubled each time, to a maximum."""
DISMISS_AGAIN_S = 15.0
"""Seconds after which the order to end is repeated."""
SURPLUS_S = 2.0
"""Seconds that a worker stays if no trials are expected, because running trials may still pause or fail."""


class WorkerSet:
    """The workers of a pool by name. ``unmanaged_jobs``: jobs of the experiment that are not workers.

    ``startup_failure``: why no worker can start; "" if workers can start.
    """

    def __init__(
        self,
        inner: Cluster,
        paths: ExperimentPaths,
        experiment_id: str,
        options: PoolOptions,
        clock: Clock,
        timings: TrialTimings,
    ) -> None:
        self._inner, self._paths, self._experiment_id = inner, paths, experiment_id
        self._options, self._clock, self._timings = options, clock, timings
        self.outlook = QueueForecast(options, timings)
        self.workers: dict[str, WorkerView] = {}
        self.unmanaged_jobs: list[JobStatus] = []
        self.outage = self.startup_failure = ""
        self.avoid: tuple[str, ...] = ()
        """Nodes that workers must avoid."""
        self._past: dict[str, tuple[Resources, float]] = {}
        """For how many seconds workers that are forgotten were held."""
        self._loaded = False
        self._last = 0
        """The highest number that a worker has ever had."""
        self._asked_at = self._due_at = float("-inf")
        self._interval = PollInterval(inner.poll_s, inner.quiet_poll_s)
        self._said: Sequence[JobStatus] = ()
        self._grow_at, self._refusals, self._unneeded, self._failed_starts = float("-inf"), 0, 0, 0

    # -- reading the state ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """Update all workers. Raises ClusterUnavailableError as long as the cluster has never answered."""
        now = self._clock.now()
        if not self._loaded:
            self._load(now)
        if now >= self._due_at:
            self._ask(now)
        for worker in list(self.workers.values()):
            if not worker.gone:
                self._look_at(worker, now)
            elif not worker.entries and not worker.displaced:
                self._past[worker.name] = (worker.kind.job, worker.held_s(now))
                del self.workers[worker.name]
        self.outlook.update(self.workers.values(), now)

    def _load(self, now: float) -> None:
        try:
            names = sorted(p.name for p in self._paths.workers.iterdir() if p.name[1:].isdigit())
        except FileNotFoundError:
            names = []
        except OSError as error:
            raise StorageError(f"Cannot read {self._paths.workers}: {error.strerror or error}.") from error
        for name in names:
            self._last = max(self._last, int(name[1:]))
            self._load_worker(name, now)
        self._loaded = True

    def _load_worker(self, name: str, now: float) -> WorkerView | None:
        """The worker that an earlier driver requested; None if it has no definition, or is another experiment's."""
        paths = self._paths.worker(name)
        spec = worker_files.read_spec(paths)
        if spec is None or spec.experiment_id != self._experiment_id:
            return None
        kind = WorkerShape(Resources.from_json(spec.resources), spec.slots)
        worker = WorkerView(paths, spec, kind, self._timings)
        worker.adopt(now)
        self.workers[name] = worker
        return worker

    def _look_at(self, worker: WorkerView, now: float) -> None:
        ready = worker.ready
        worker.read(now)
        worker.judge(self._asked_at)
        if worker.ready and not ready:
            self._failed_starts, self.startup_failure = 0, ""
        if worker.worked:
            self._unneeded = 0
        if worker.gone:
            self._on_worker_gone(worker, now)

    def _on_worker_gone(self, worker: WorkerView, now: float) -> None:
        if worker.job is not None and worker.job.state.final:
            self._inner.tidy([worker.job.job_id])
            for path in (worker.paths.stdout, worker.paths.stderr):
                permissions.remove_if_empty(path)
        if worker.leave:
            return
        never_ready = not worker.ready and worker.job is not None and not worker.job.state.interruption
        if never_ready and worker.job is not None and worker.job.state is not JobState.CANCELLED:
            self._failed_starts += 1
            self._pause_growth(now, GROW_AGAIN_S, self._failed_starts)
            if self._failed_starts >= BROKEN_AFTER:
                self.startup_failure = (
                    f"{BROKEN_AFTER} workers in a row ended before they could take a trial; the last: job "
                    f"{worker.job.job_id} ended as {worker.job.state.value} "
                    f"({worker.job.reason or 'no reason given'}). See {worker.paths.stderr}."
                )
        elif never_ready or (worker.left and not worker.worked):  # cancelled by somebody else, or not needed
            self._unneeded += 1
            self._pause_growth(now, UNNEEDED_PAUSE_S, self._unneeded)

    def _pause_growth(self, now: float, base_s: float, times: int) -> None:
        self._grow_at = now + min(MAX_PAUSE_S, base_s * 2.0 ** (times - 1))

    def _ask(self, now: float) -> None:
        """Ask the cluster for the workers' jobs. If it does not answer, nothing changes."""
        try:
            jobs = self._inner.jobs()
        except ClusterUnavailableError as error:
            self.outage = str(error)
            self._due_at = now + self._interval.after_silence()
            if self._asked_at == float("-inf"):
                raise
            return
        changed = jobs != self._said
        self._said, self._asked_at, self.outage = jobs, now, ""
        self._due_at = now + self._interval.after_answer(changed)
        self._match_jobs(jobs, now)

    def _match_jobs(self, jobs: Sequence[JobStatus], now: float) -> None:
        """Assign each job to its worker."""
        mine: dict[str, JobStatus] = {}
        self.unmanaged_jobs = []
        for job in jobs:
            name = job.tag.trial_id
            known = name in self.workers
            if not known and not job.state.final and self._paths.worker(name).spec.exists():
                known = self._load_worker(name, now) is not None
            if known:
                mine[name] = job
            elif not self._paths.worker(name).root.is_dir():
                self.unmanaged_jobs.append(job)
        for worker in self.workers.values():
            found = mine.get(worker.name)
            if found is not None:
                worker.job, worker.missing = found, 0
                worker.gone = worker.gone and (found.state.final or bool(worker.left))
            elif now > worker.submitted_at:
                worker.missing += 1
                self._due_at = min(self._due_at, now + self._inner.poll_s)

    # -- growing and shrinking -----------------------------------------------------------------------------------

    def resize(self, demand: Demand, displaced: Sequence[AssignmentState]) -> None:
        """Request the workers that are missing, and end those that are too many."""
        now = self._clock.now()
        alive = [w for w in self.workers.values() if not (w.gone or w.left or w.leave)]
        old = [] if demand.finished else [w for w in alive if self.outlook.needs_successor(w, now)]
        lasting = [w for w in alive if w not in old]
        after = [(w.kind.resources, len(w.held)) for w in old if w.held]
        needs = [*((entry.resources, 1) for entry in displaced), *after, *demand.needs]
        options, standing = self._options, [w.standing(now) for w in lasting]
        due = resize(standing, needs, options.trials_per_worker, options.workers)
        idle = {*due.surplus, *(w.name for w in old if not w.held)}
        for worker in alive:
            if worker.name not in idle:
                worker.idle_since = None
            elif worker.idle_since is None:
                worker.idle_since = now
            idle_s = now - worker.idle_since if worker.idle_since is not None else 0.0
            if worker.name in idle and (demand.finished or idle_s > self._max_idle_s(worker, demand, due)):
                worker.leave = "other workers are needed" if due.short else "there is nothing more to do"
            worker.idle_grace_s = self.outlook.idle_grace_s
        self._retire(alive, lasting, now)
        for worker in self.workers.values():
            if worker.leave and not worker.gone and now - worker.dismissed_at > DISMISS_AGAIN_S:
                self._stop_worker(worker, now)
        grow = resize(*self.outlook.unmet_demand(standing, needs), options.trials_per_worker, options.workers).grow
        if grow and now >= self._grow_at and not self.startup_failure:
            self._grow(grow, sum(not w.started for w in lasting), now)

    def _retire(self, alive: Sequence[WorkerView], lasting: Sequence[WorkerView], now: float) -> None:
        """End workers on bad nodes, workers with too little time for a trial, and workers whose successor is ready.

        They finish the trials that have begun.
        """
        spare = sum(w.ready for w in alive) - (self._options.workers or len(alive))
        for worker in alive:
            if worker.node in self.avoid and not worker.held:
                worker.leave = f"attempts die on {worker.node}"
            elif worker.ready and not worker.held and not self.outlook.has_time(worker, now):
                worker.leave = "too little of its time is left for another trial"
            elif worker not in lasting and spare > 0:
                spare -= 1
                worker.leave = "its successor is ready"

    def _max_idle_s(self, worker: WorkerView, demand: Demand, due: ScalePlan) -> float:
        """Seconds that a worker may be idle before the driver ends it.

        Infinite for a worker that runs and may still be needed: it ends by itself, with or without a driver.
        """
        if due.short or not demand.more_expected:
            return SURPLUS_S
        return float("inf") if worker.started else self.outlook.idle_grace_s

    def _stop_worker(self, worker: WorkerView, now: float) -> None:
        worker.dismissed_at = now
        worker.publish(now)
        if not worker.started and worker.job is not None:
            with contextlib.suppress(ClusterUnavailableError):
                self._inner.cancel([worker.job.job_id])
                self._due_at = now

    def _grow(self, kinds: Sequence[WorkerShape], waiting: int, now: float) -> None:
        if self._options.workers is None:
            kinds = kinds[: max(0, WAITING_AT_MOST - waiting)]
        chosen: list[WorkerShape] = []
        for kind in kinds:
            if sum(k == kind for k in chosen) < self._inner.room(kind.job):
                chosen.append(kind)
        if not chosen:
            return
        names = [self._create_worker(kind) for kind in chosen]
        requests = [self.request(name, kind) for name, kind in zip(names, chosen, strict=True)]
        try:
            outcomes = self._inner.submit(requests)
        except ClusterUnavailableError:
            return  # they are there, or not: the next answers tell
        self._due_at = min(self._due_at, now + self._interval.reset())
        for name, request, outcome in zip(names, requests, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self._refusals = 0
                self.workers[name].job = JobStatus(outcome.job_id, request.tag, JobState.PENDING)
            elif isinstance(outcome, Refused):
                self._take_back(name)
                self._refusals += 1
                self._pause_growth(now, GROW_AGAIN_S, self._refusals)
                if outcome.permanent:
                    self.startup_failure = outcome.reason

    def _create_worker(self, kind: WorkerShape) -> str:
        """Create the directory of a new worker. Returns its name."""
        options, first = self._options, kind.resources.bundles[0]
        while True:
            self._last += 1
            name = f"w{self._last:04d}"
            paths = self._paths.worker(name)
            try:
                permissions.make_directory(paths.root.parent, exist_ok=True)
                permissions.make_directory(paths.root)
                break
            except FileExistsError:
                continue
            except OSError as error:
                raise StorageError(f"Cannot create {paths.root}: {error.strerror or error}.") from error
        spec = WorkerSpec(
            experiment_id=self._experiment_id,
            worker=name,
            slots=kind.slots,
            cpus=first.cpus,
            gpus=first.gpus,
            idle_timeout_s=options.idle_timeout_s,
            start=options.start,
            kill_wait_s=options.kill_wait_s,
            wait_for_gpu=options.wait_for_gpu,
            resources=kind.resources.to_json(),
            submitted_at=self._clock.now(),
        )
        worker_files.write_spec(paths, spec)
        worker = self.workers[name] = WorkerView(paths, spec, kind, self._timings)
        worker.submitted_at = self._clock.now()
        return name

    def _take_back(self, name: str) -> None:
        """Remove a worker for which surely no job was created."""
        paths = self.workers.pop(name).paths
        with contextlib.suppress(OSError):
            paths.spec.unlink()
            paths.root.rmdir()

    def request(self, name: str, kind: WorkerShape) -> JobRequest:
        """The job of worker ``name``."""
        paths = self._paths.worker(name)
        return JobRequest(
            tag=Tag(self._experiment_id, name, 1),
            name=f"{self._paths.root.name}_{name}",
            command=(sys.executable, "-u", "-m", "hpctune.worker.pool", str(self._paths.root), name),
            resources=kind.job,
            stdout=paths.stdout,
            stderr=paths.stderr,
            avoid=self.avoid,
            minutes=self.outlook.minutes,
        )

    # -- the rest ------------------------------------------------------------------------------------------------

    def has(self, tag: Tag) -> bool:
        """Whether any worker has, or had, the assignment with this tag."""
        return any(entry.tag == tag for worker in self.workers.values() for entry in worker.entries.values())

    def keep(self, entry: AssignmentState) -> None:
        """Keep an assignment that ended without a worker until it is tidied."""
        worker = self.workers.get(entry.worker)
        if worker is not None:
            worker.entries[entry.number] = entry

    def held(self, now: float) -> list[tuple[Resources, float]]:
        """The resources of each worker's job, and the seconds for which it was held until ``now``."""
        known = {name: (worker.kind.job, worker.held_s(now)) for name, worker in self.workers.items()}
        return list({**self._past, **known}.values())

    def summary(self) -> str:
        """Such as "4 workers: 3 busy, 1 idle; 2 queued"."""
        alive = [w for w in self.workers.values() if not w.gone]
        if not alive:
            return "no workers"
        started = [w for w in alive if w.started]
        busy = sum(bool(w.held) for w in started)
        queued = len(alive) - len(started)
        text = f"{len(started)} worker{'s' * (len(started) != 1)}: {busy} busy, {len(started) - busy} idle"
        return text + (f"; {queued} queued" if queued else "")
