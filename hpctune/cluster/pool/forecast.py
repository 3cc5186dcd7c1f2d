"""A pool's forecast of queue waits and trial durations, applied to its workers. The rules are in ``queue_waits.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.pool.sizing import WorkerLoad, fits
from hpctune.cluster.pool.worker import TrialTimings, WorkerView
from hpctune.cluster.queue_waits import QueueWaits, idle_grace_s, needs_successor, trials_started_within, worker_minutes
from hpctune.model.resources import Resources

TIME_FACTOR = 1.2
"""A trial starts on a worker only if this many times the longest recent time to the end, or to the first checkpoint, is
left."""

Needs = Sequence[tuple[Resources, int]]


class QueueForecast:
    """The forecast, kept up to date by :meth:`update`.

    ``wait_s``: seconds that a worker requested now would wait in the queue. ``provisioning_s``: seconds from now to its
    first trial. Both are 0.0 if nothing is known yet, or if the pool does not adapt to the queue.
    """

    def __init__(self, options: PoolOptions, timings: TrialTimings) -> None:
        self._options, self._timings = options, timings
        self._waits = QueueWaits()
        self._queued: list[float] = []
        self._counted: set[str] = set()
        self.wait_s = self.provisioning_s = 0.0

    def update(self, workers: Iterable[WorkerView], now: float) -> None:
        """Read the waits of ``workers``. The first start of each counts, also those under earlier drivers."""
        self._queued = []
        for worker in workers:
            asked_at, claimed = worker.spec.submitted_at, worker.claimed
            if not asked_at:
                continue
            if claimed is None and worker.job is not None and not worker.job.state.final:
                self._queued.append(now - asked_at)
            if claimed is None or claimed.run > 0 or worker.ready_at is None or worker.name in self._counted:
                continue
            self._counted.add(worker.name)
            self._waits.started(min(claimed.at, now) - asked_at)
            self._waits.began(worker.ready_at - claimed.at)
        if self._options.adapt_to_queue:
            self.wait_s = self._waits.wait_s(self._queued)
            self.provisioning_s = self.wait_s + self._waits.startup_s

    @property
    def idle_grace_s(self) -> float:
        """Seconds that an idle worker, or a queued job, is kept while more trials are expected."""
        return idle_grace_s(self._options.idle_timeout_s, self.wait_s)

    def has_time(self, worker: WorkerView, now: float) -> bool:
        """Whether a trial could reach its end or its first checkpoint on this worker.

        True for a worker that has not run anything yet: another worker would have no more time.
        """
        if not worker.worked and not worker.held:
            return True
        need = TIME_FACTOR * max(self._timings.to_first_checkpoint, default=0.0)
        return worker.time_left_s(now) - self._options.warning_s > need

    def needs_successor(self, worker: WorkerView, now: float) -> bool:
        """Whether its successor should be requested. Once true, this stays true for the worker's current run."""
        if worker.ready and worker.claimed is not None:
            age_s, left_s = now - worker.claimed.at, worker.time_left_s(now)
            worker.retiring = worker.retiring or needs_successor(
                age_s, left_s, self._options.warning_s, self.provisioning_s
            )
        return worker.retiring

    def unmet_demand(
        self, workers: Sequence[WorkerLoad], needs: Needs
    ) -> tuple[list[WorkerLoad], list[tuple[Resources, int]]]:
        """The demand that running workers will not have met before a new worker could begin.

        Returns ``workers`` with a reduced ``behind``, and the reduced ``needs``.
        """
        durations = self._timings.durations
        trial_s = sum(durations) / len(durations) if durations else None
        soon = {w.name: trials_started_within(w.kind.slots, trial_s, self.provisioning_s) for w in workers if w.started}
        kinds = {w.name: w.kind for w in workers}
        left = []
        for standing in workers:
            taken = min(standing.behind, soon.get(standing.name, 0))
            left.append(replace(standing, behind=standing.behind - taken))
            if taken:
                soon[standing.name] -= taken
        fewer = []
        for resources, count in needs:
            rest = count
            for name in soon:
                taken = min(rest, soon[name]) if fits(kinds[name], resources) else 0
                soon[name] -= taken
                rest -= taken
            fewer.append((resources, rest))
        return left, fewer

    @property
    def minutes(self) -> int | None:
        """The time limit of the next worker in minutes; None if the options set it."""
        options = self._options
        if not options.choose_time:
            return None
        return worker_minutes(self._timings.durations, self.provisioning_s, options.warning_s, options.most_minutes)

    def summary(self) -> str:
        """A summary of the queue waits, as text."""
        return self._waits.summary(self._queued)
