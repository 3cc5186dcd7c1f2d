"""The world of the engine once more, with a pool of workers between the driver and the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.pool.worker import WorkerView
from hpctune.model import events as e
from hpctune.model.jobs import JobRequest, JobState, SubmitOutcome
from hpctune.ports import Cluster
from hpctune.storage import journal
from hpctune.testing.simulated_pool import SimulatedPool, SimulatedWorker
from tests.property.world import World, check


class WatchedPool(PooledCluster):
    """Checks, at each hand-over, that its intent is in the journal; may die before and after each publication."""

    world: PoolWorld

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        self.world.fault_point()
        recorded = list(journal.read(self.world.paths.journal))
        intents = {(r.event.trial_id, r.event.attempt) for r in recorded if isinstance(r.event, e.SubmitRequested)}
        for request in requests:
            tag = (request.tag.trial_id, request.tag.attempt)
            check(tag in intents, "intent is journaled before its effect", tag)
        outcomes = super().submit(requests)
        self.world.fault_point()
        return outcomes


class FaultyInner(SimulatedPool):
    """The driver may die before and after a worker is asked for or cancelled."""

    world: PoolWorld

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        self.world.fault_point()
        outcomes = super().submit(requests)
        self.world.fault_point()
        return outcomes

    def cancel(self, job_ids: Sequence[str]) -> None:
        self.world.fault_point()
        super().cancel(job_ids)


class PoolWorld(World):
    """Workers with ``places`` trials each, at most ``workers`` of them."""

    shortest_step_s = 5.0

    def __init__(self, *, workers: int = 2, places: int = 1, prefetch: bool = True, **given: Any) -> None:
        self._options = PoolOptions(
            workers=workers,
            trials_per_worker=places,
            prefetch=prefetch,
            idle_timeout_s=120.0,
            poll_s=5.0,
            quiet_poll_s=30.0,
        )
        super().__init__(**given)
        plain = self.cluster
        self.cluster: Any = FaultyInner(
            plain.clock, plain.root, plain.curve, slots=plain.slots, queue_wait_s=plain.queue_wait_s
        )
        self.cluster.world = self
        self._places = places

    def fault_point(self) -> None:
        self._fault_point()

    def cluster_for_driver(self) -> Cluster:
        """A new one for each driver: what the last one remembered is gone."""
        pool = WatchedPool(self.cluster, self.paths.root, self.spec.experiment_id, self._options, self.clock)
        pool.world = self
        return pool

    # -- faults that hit a worker hit what it runs, and what it was about to run

    def running_jobs(self) -> list[str]:
        return [j.job_id for j in self.cluster.jobs_by_id.values() if j.state is JobState.RUNNING]

    def requeue(self, index: int, zombie: bool) -> None:
        self.faults += self._runs_of(index)
        super().requeue(index, zombie)

    def kill_job(self, index: int, state: JobState) -> None:
        self.faults += self._runs_of(index)
        super().kill_job(index, state)

    def _runs_of(self, index: int) -> int:
        jobs = self.running_jobs()
        if not jobs:
            return 0
        worker = self.cluster.jobs_by_id[jobs[index % len(jobs)]].run
        return len(worker.runs) if isinstance(worker, SimulatedWorker) else 0

    def invariants(self) -> None:
        super().invariants()
        self._one_place_each()

    def _one_place_each(self) -> None:
        """No assignment is held by two workers that could begin it, and no worker runs more than it has places for."""
        workers = [j.run for j in self.cluster.jobs_by_id.values() if isinstance(j.run, SimulatedWorker)]
        for worker in workers:
            check(len(worker.runs) <= self._places, "no worker runs more than it has places for", len(worker.runs))

    def after_leaving(self) -> None:
        """Workers take a moment to see that they are to leave."""
        self.advance(60.0)

    def views(self) -> list[WorkerView]:
        """The workers as the driver sees them."""
        assert self.driver is not None
        pool = self.driver.cluster
        assert isinstance(pool, PooledCluster)
        return list(pool._workers.workers.values())
