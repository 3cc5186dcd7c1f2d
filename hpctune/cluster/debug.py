"""A cluster that runs trials in this process, one after another, so that breakpoints and tracebacks work as usual.

User code runs in the main thread, because debuggers, signals and GUIs need that. The driver runs in another thread::

    cluster = DebugCluster(experiment_dir, experiment_id, None, clock)
    outcome = cluster.serve(lambda: drive(cluster))
"""

from __future__ import annotations

import bdb
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hpctune.errors import TuneError, UsageError
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock
from hpctune.storage import bundle

T = TypeVar("T")
_INTERRUPTS = (KeyboardInterrupt, bdb.BdbQuit)


class DebugCluster:
    """Runs one job at a time, in the thread that calls :meth:`serve`. Its jobs are lost when the process ends.

    ``run``: runs one attempt to its end and returns its exit code. None: hpctune's worker. Output is not redirected.
    """

    name = "debug"
    in_process = True
    """Trials run in the driver's process."""
    poll_s = 0.02
    quiet_poll_s = 0.1

    def __init__(
        self,
        experiment_dir: Path,
        experiment_id: str,
        options: object = None,
        clock: Clock | None = None,
        run: Callable[[JobRequest], int] | None = None,
    ) -> None:
        self._run = run or _run_attempt
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[JobRequest, JobStatus]] = {}
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._drive: threading.Thread | None = None
        self._interrupted = self._told = False

    def serve(self, drive: Callable[[], T]) -> T:
        """Run ``drive`` in a new thread and its jobs in this one. Returns what it returns, raises what it raises.

        Ctrl-C (or quitting the debugger) ends the running job as CANCELLED. The next call of the drive to this cluster
        then raises KeyboardInterrupt, so that the drive can end properly. After that, this method raises it too.
        """
        ended: list[tuple[T | None, BaseException | None]] = []

        def body() -> None:
            try:
                ended.append((drive(), None))
            except BaseException as error:
                ended.append((None, error))
            finally:
                self._waiting.put(None)

        self._drive = threading.Thread(target=body, name="hpctune-driver", daemon=True)
        self._interrupted = self._told = False
        self._drive.start()
        interrupt = self._work()
        self._drive.join()
        self._drive = None
        result, error = ended[0]
        if interrupt is not None:
            raise KeyboardInterrupt from interrupt
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _work(self) -> BaseException | None:
        """Run jobs until the drive has ended. Returns the interrupt, if there was one."""
        interrupt: BaseException | None = None
        while True:
            try:
                job_id = self._waiting.get()
                if job_id is None:
                    return interrupt
                if not self._interrupted:
                    self._execute(job_id)
            except _INTERRUPTS as error:
                if self._interrupted:  # a second Ctrl-C: do not wait for the drive
                    raise
                interrupt, self._interrupted = error, True

    def _execute(self, job_id: str) -> None:
        with self._lock:
            request, status = self._jobs[job_id]
            if status.state.final:
                return
            self._jobs[job_id] = request, replace(status, state=JobState.RUNNING)
        try:
            with _environment({**request.env, "HPCTUNE_JOB_ID": job_id}):
                code = self._run(request)
        except _INTERRUPTS:
            self._ended(job_id, JobState.CANCELLED, "interrupted")
            raise
        except BaseException as error:
            self._ended(job_id, JobState.FAILED, f"{type(error).__name__}: {error}")
        else:
            self._ended(job_id, *((JobState.FAILED, f"exit code {code}") if code else (JobState.COMPLETED, "")))

    def _ended(self, job_id: str, state: JobState, reason: str) -> None:
        with self._lock:
            request, status = self._jobs[job_id]
            self._jobs[job_id] = request, replace(status, state=state, reason=reason)

    # -- the port, called by the drive --------------------------------------------------------------------------------

    def check(self, resources: Resources) -> None:
        """Check nothing: a trial of any size runs. The ranks of a distributed one are child processes."""

    def room(self, resources: Resources) -> int:
        """1 if no job runs or waits, else 0."""
        self._tell()
        with self._lock:
            return int(not self._interrupted and all(status.state.final for _, status in self._jobs.values()))

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Hand the requests to the serving thread."""
        return [self._submit(request) for request in requests]

    def _submit(self, request: JobRequest) -> SubmitOutcome:
        self._tell()
        if self._drive is None:
            return Refused("This cluster is not being served. Call DebugCluster.serve(drive).", permanent=True)
        if self._interrupted:
            return Refused("Interrupted.", permanent=False)
        with self._lock:
            job_id = f"debug-{len(self._jobs) + 1}"
            self._jobs[job_id] = request, JobStatus(job_id, request.tag, JobState.PENDING, nodes=os.uname().nodename)
        self._waiting.put(job_id)
        return Accepted(job_id)

    def jobs(self) -> list[JobStatus]:
        """Every job of this process."""
        self._tell()
        with self._lock:
            return [status for _, status in self._jobs.values()]

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End the waiting jobs. The running job is user code in this process: it ends at its next report."""
        with self._lock:
            for job_id in job_ids:
                request, status = self._jobs.get(job_id, (None, None))
                if request is not None and status is not None and status.state is JobState.PENDING:
                    self._jobs[job_id] = request, replace(status, state=JobState.CANCELLED, reason="cancelled")

    def preview(self, request: JobRequest) -> str:
        """The command of the job."""
        return f"in this process: {' '.join(request.command)}\n"

    def stats(self) -> CallStats:
        """No commands are called."""
        return CallStats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Do nothing: there are no files."""

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _tell(self) -> None:
        """Raise KeyboardInterrupt in the drive's thread, once."""
        if self._interrupted and not self._told and threading.current_thread() is self._drive:
            self._told = True
            raise KeyboardInterrupt


def _run_attempt(request: JobRequest) -> int:
    """Run hpctune's worker in this process.

    The command's last three arguments are the experiment's directory, the trial's directory, and the attempt.
    """
    from hpctune.worker.main import run_attempt

    if len(request.command) < 3 or not request.command[-1].isdigit():
        raise UsageError(f"The cluster 'debug' can run only hpctune's worker, not {request.command!r}.")
    directory, dirname, attempt = request.command[-3:]
    try:
        with bundle.trials_are_here():
            return int(run_attempt(Path(directory), dirname, int(attempt)))
    except SystemExit as error:
        raise TuneError(f"The worker exited with code {error.code}.") from error


@contextmanager
def _environment(additions: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(additions)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
