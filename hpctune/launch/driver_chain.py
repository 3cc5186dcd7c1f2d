"""Driver jobs that follow each other: submitted, kept waiting, and called off when there is nothing left to drive."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.driver_job import DriverJobOptions, DriverQueue, script
from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.driver.clock import WallClock
from hpctune.errors import ClusterError, ClusterUnavailableError, StorageError, UsageError
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import atomic, driver_jobs, permissions
from hpctune.storage.driver_jobs import DriverJob
from hpctune.storage.layout import ExperimentPaths

CHECK_S = 600.0
"""Seconds between two looks whether the successors still wait."""
FIRST_RETRY_S = 20.0


@dataclass(frozen=True, slots=True)
class DriverJobRequest:
    """That the driver shall be a job. ``verbose``: what its log shows, 0 to 3."""

    options: DriverJobOptions
    verbose: int = 1


def check(request: DriverJobRequest, cluster: str, cancel_on_exit: bool) -> None:
    """Raise UsageError for what makes no sense with a driver in a job."""
    if cluster != "slurm":
        raise UsageError(
            f"--sbatch makes the driver a Slurm job, and trials on the cluster {cluster!r} would end with it. "
            "Use --cluster slurm, or drive from here without --sbatch."
        )
    if cancel_on_exit:
        raise UsageError("--cancel-on-exit would cancel the trials' jobs at each hand-over of --sbatch. Leave it out.")


def preview(paths: ExperimentPaths, spec: ExperimentSpec, request: DriverJobRequest) -> str:
    """The script of the driver's jobs."""
    slurm = SlurmOptions.from_mapping(spec.cluster_options)
    return script(paths, spec.name, spec.experiment_id, request.options, slurm, os.environ)


def submit_chain(paths: ExperimentPaths, spec: ExperimentSpec, request: DriverJobRequest) -> list[str]:
    """Submit the first driver job and its successors; their ids.

    Raises UsageError where such jobs are in the queue already, RequestRejectedError where Slurm takes none,
    ClusterUnavailableError where it did not answer before the first was there, StorageError.
    """
    queue = _queue(paths, spec)
    there = [job.job_id for job in queue.jobs()]
    if there:
        raise UsageError(
            f"{paths.root} has driver jobs already: {', '.join(there)}. See: hpctune status {paths.root}. "
            f"To submit others: scancel {' '.join(there)}"
        )
    try:
        permissions.make_directory(paths.drivers, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make {paths.drivers}: {error.strerror or error}.") from error
    atomic.write(paths.driver_script, preview(paths, spec, request), durable=True)
    driver_jobs.store_options(paths, {"options": request.options.to_json(), "verbose": request.verbose})
    jobs = [_submit(paths, queue, None)]
    try:
        while len(jobs) <= request.options.ahead:
            jobs.append(_submit(paths, queue, jobs[-1]))
    except ClusterError as error:
        wanted = request.options.ahead + 1
        log.warning(f"Only {len(jobs)} of {wanted} driver jobs could be submitted; the first tries again. {error}")
    return jobs


def _queue(paths: ExperimentPaths, spec: ExperimentSpec) -> DriverQueue:
    return DriverQueue(paths, spec.experiment_id, SlurmOptions.from_mapping(spec.cluster_options), WallClock())


def _submit(paths: ExperimentPaths, queue: DriverQueue, after: str | None) -> str:
    job_id = queue.submit(after)
    driver_jobs.submitted(paths, DriverJob(job_id=job_id, submitted_at=time.time(), after=after))
    return job_id


def cancel_queued(paths: ExperimentPaths, spec: ExperimentSpec) -> None:
    """Cancel the driver jobs that wait, where there ever were any: nothing is left to drive. One that cannot be
    cancelled finds that out when it starts, and leaves."""
    if spec.cluster != "slurm" or not paths.driver_options.exists():
        return
    try:
        queue = _queue(paths, spec)
        waiting = [job.job_id for job in queue.jobs() if job.waiting]
        queue.cancel(waiting)
    except ClusterError as error:
        log.warning(
            f"Driver jobs that still wait leave by themselves when they start; they could not be cancelled: {error}"
        )
        return
    for job_id in waiting:
        driver_jobs.forget(paths, job_id)


class DriverJobChain:
    """The successors of this process, which is the driver job ``job_id``."""

    def __init__(self, paths: ExperimentPaths, spec: ExperimentSpec, job_id: str) -> None:
        stored: dict[str, Any] = driver_jobs.read_options(paths) or {}
        self.options = DriverJobOptions(**stored.get("options", {}))
        self.verbose = int(stored.get("verbose", 1))
        self._paths, self._spec, self._job_id = paths, spec, job_id
        self._queue = _queue(paths, spec)
        self._lock = threading.Lock()
        self._me = replace(driver_jobs.of(paths, job_id), host=socket.gethostname(), started_at=time.time())
        driver_jobs.note(paths, self._me)

    def test(self) -> None:
        """Raise RequestRejectedError where jobs cannot be submitted from here: neither trials nor successors."""
        with contextlib.suppress(ClusterUnavailableError):  # the driver asks again, as often as it takes
            self._queue.test()

    def ensure_successors(self) -> bool:
        """See to it that enough successors wait; whether they do now."""
        with self._lock:
            try:
                self._ensure_successors()
            except ClusterError as error:
                self.say(f"there may be no successor: {error}")
                return False
        return True

    def _ensure_successors(self) -> None:
        jobs = self._queue.jobs()
        mine = next((job for job in jobs if job.job_id == self._job_id), None)
        waiting = [job.job_id for job in jobs if job.waiting and job.job_id != self._job_id]
        for noted in driver_jobs.read(self._paths):
            if noted.started_at is None and noted.job_id not in {job.job_id for job in jobs}:
                driver_jobs.forget(self._paths, noted.job_id)  # somebody cancelled it
        while len(waiting) < self.options.ahead:
            waiting.append(_submit(self._paths, self._queue, waiting[-1] if waiting else self._job_id))
        self._note(ends_at=mine.ends_at if mine is not None else None, note="")

    def is_redundant(self) -> bool:
        """Whether another job of the chain runs, and others wait for its end: then this one is one too many."""
        try:
            jobs = self._queue.jobs()
        except ClusterUnavailableError:
            return False
        others = [job for job in jobs if job.job_id != self._job_id]
        return any(not job.waiting for job in others) and any(job.waiting for job in others)

    def keep(self, driving: Callable[[], bool], over: threading.Event) -> None:
        """Top up once this process drives, and now and then, until it is ``over``. For a thread of its own."""
        while not driving():
            if over.wait(0.1):
                return
        retry = Backoff(FIRST_RETRY_S, CHECK_S)
        pause_s = 0.0
        while not over.wait(pause_s):
            if self.ensure_successors():
                pause_s = CHECK_S
                retry.reset()
            else:
                pause_s = retry.take()

    def say(self, text: str) -> None:
        """Put it into the log, and where ``status`` finds it."""
        log.info(f"hpctune: driver job {self._job_id}: {text}")
        self._note(note=text)

    def left(self, why: str) -> None:
        """This job drives no more."""
        log.info(f"hpctune: driver job {self._job_id} leaves: {why}")
        self._note(left_at=time.time(), note=why)

    def give_up(self, why: str) -> None:
        """No driver could do better: leave, and let nobody follow."""
        self.left(why)
        cancel_queued(self._paths, self._spec)

    def _note(self, **changes: Any) -> None:
        self._me = replace(self._me, **changes)
        driver_jobs.note(self._paths, self._me)
