"""The chain of driver jobs: submits them, ensures that successors wait, and cancels those that are not needed."""

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
from hpctune.common.text import quoted
from hpctune.driver.clock import WallClock
from hpctune.errors import ClusterError, ClusterUnavailableError, StorageError, UsageError
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import atomic, driver_jobs, permissions
from hpctune.storage.driver_jobs import DriverJob
from hpctune.storage.layout import ExperimentPaths

CHECK_S = 600.0
"""Seconds between two checks whether the successors still wait."""
FIRST_RETRY_S = 20.0


@dataclass(frozen=True, slots=True)
class DriverJobRequest:
    """A request to run the driver as a job. ``verbose``: how much its log shows, 0 to 3 (default 1)."""

    options: DriverJobOptions
    verbose: int = 1


def check(request: DriverJobRequest, cluster: str, cancel_on_exit: bool) -> None:
    """Raise UsageError for options that cannot be combined with a driver job."""
    if cluster != "slurm":
        raise UsageError(
            f"--sbatch runs the driver as a Slurm job, and trials on the cluster {cluster!r} would end with that job. "
            "Use --cluster slurm, or remove --sbatch."
        )
    if cancel_on_exit:
        raise UsageError("--cancel-on-exit would cancel the trials' jobs at each hand-over of --sbatch. Remove it.")


def preview(paths: ExperimentPaths, spec: ExperimentSpec, request: DriverJobRequest) -> str:
    """The batch script of the driver jobs."""
    slurm = SlurmOptions.from_mapping(spec.cluster_options)
    return script(paths, spec.name, spec.experiment_id, request.options, slurm, os.environ)


def submit_chain(paths: ExperimentPaths, spec: ExperimentSpec, request: DriverJobRequest) -> list[str]:
    """Submit the first driver job and its successors. Returns their ids.

    Raises UsageError if the experiment has driver jobs in the queue, RequestRejectedError if Slurm refuses,
    ClusterUnavailableError if Slurm does not answer before the first job exists, StorageError.
    """
    queue = _queue(paths, spec)
    there = [job.job_id for job in queue.jobs()]
    if there:
        raise UsageError(
            f"{paths.root} has driver jobs already: {', '.join(there)}. See: hpctune status {quoted(paths.root)}. "
            f"To submit others: scancel {' '.join(there)}"
        )
    try:
        permissions.make_directory(paths.drivers, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot create {paths.drivers}: {error.strerror or error}.") from error
    atomic.write(paths.driver_script, preview(paths, spec, request), durable=True)
    driver_jobs.store_options(paths, {"options": request.options.to_json(), "verbose": request.verbose})
    jobs = [_submit(paths, queue, None)]
    try:
        while len(jobs) <= request.options.ahead:
            jobs.append(_submit(paths, queue, jobs[-1]))
    except ClusterError as error:
        wanted = request.options.ahead + 1
        log.warning(f"Only {len(jobs)} of {wanted} driver jobs were submitted; the first one will try again. {error}")
    return jobs


def _queue(paths: ExperimentPaths, spec: ExperimentSpec) -> DriverQueue:
    return DriverQueue(paths, spec.experiment_id, SlurmOptions.from_mapping(spec.cluster_options), WallClock())


def _submit(paths: ExperimentPaths, queue: DriverQueue, after: str | None) -> str:
    job_id = queue.submit(after)
    driver_jobs.submitted(paths, DriverJob(job_id=job_id, submitted_at=time.time(), after=after))
    return job_id


def cancel_queued(paths: ExperimentPaths, spec: ExperimentSpec) -> None:
    """Cancel the waiting driver jobs of a finished experiment, if any.

    One that cannot be cancelled ends by itself when it starts.
    """
    if spec.cluster != "slurm" or not paths.driver_options.exists():
        return
    try:
        queue = _queue(paths, spec)
        waiting = [job.job_id for job in queue.jobs() if job.waiting]
        queue.cancel(waiting)
    except ClusterError as error:
        log.warning(f"Waiting driver jobs could not be cancelled; they end by themselves when they start: {error}")
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
        """Raise RequestRejectedError if jobs (trials and successors) cannot be submitted from this node."""
        with contextlib.suppress(ClusterUnavailableError):  # the driver tries again later
            self._queue.test()

    def ensure_successors(self) -> bool:
        """Ensure that enough successors wait. Returns whether they do now."""
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
                driver_jobs.forget(self._paths, noted.job_id)  # it was cancelled
        while len(waiting) < self.options.ahead:
            waiting.append(_submit(self._paths, self._queue, waiting[-1] if waiting else self._job_id))
        self._note(ends_at=mine.ends_at if mine is not None else None, note="")

    def is_redundant(self) -> bool:
        """Whether this job is not needed: another job of the chain runs, and others wait for its end."""
        try:
            jobs = self._queue.jobs()
        except ClusterUnavailableError:
            return False
        others = [job for job in jobs if job.job_id != self._job_id]
        return any(not job.waiting for job in others) and any(job.waiting for job in others)

    def keep(self, driving: Callable[[], bool], over: threading.Event) -> None:
        """Ensure successors when this process drives, and then regularly, until ``over`` is set. Runs in a thread."""
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
        """Write ``text`` to the log and to the record that ``hpctune status`` shows."""
        log.info(f"hpctune: driver job {self._job_id}: {text}")
        self._note(note=text)

    def left(self, why: str) -> None:
        """Record that this job no longer drives."""
        log.info(f"hpctune: driver job {self._job_id} ends: {why}")
        self._note(left_at=time.time(), note=why)

    def give_up(self, why: str) -> None:
        """End this job and cancel its successors, because another driver could not succeed either."""
        self.left(why)
        cancel_queued(self._paths, self._spec)

    def _note(self, **changes: Any) -> None:
        self._me = replace(self._me, **changes)
        driver_jobs.note(self._paths, self._me)
