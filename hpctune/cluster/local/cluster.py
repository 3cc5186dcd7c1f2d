"""Jobs as processes of this machine: the ``Cluster`` port without a batch system.

Each job is a session of its own, so it survives its driver, Ctrl-C and the end of the terminal. Any later driver on
this machine finds it by its record in ``jobs/`` (see ``records.py``). CPUs and GPUs limit how many jobs run; memory is
not checked. If the machine has GPUs, each job sees only its own (CUDA_VISIBLE_DEVICES, empty for none).
"""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.cluster.local import machine
from hpctune.cluster.local.allocation import Allocation, MachineResources
from hpctune.cluster.local.machine import Place
from hpctune.cluster.local.process import command_line, environment, start
from hpctune.cluster.local.records import LocalRecord, RunNote, revoke, run_note
from hpctune.cluster.options import LocalOptions
from hpctune.errors import ClusterUnavailableError, RequestRejectedError, StorageError
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock
from hpctune.storage import permissions
from hpctune.storage.layout import ExperimentPaths

if TYPE_CHECKING:
    from submitit.local.local import LocalJob

_PREFIX = "local-"
_START_S = 10.0
"""Seconds that a started process may take to write its note before it counts as killed. It needs a millisecond."""
_ORPHAN_S = 2.0
"""The same for a process whose driver died while it started the process."""
_left_running: list[object] = []
"""Processes that outlive the object that started them. They are kept here so that Python does not warn about them."""


class LocalCluster:
    """The jobs of one experiment on this machine."""

    name = "local"

    def __init__(self, experiment_dir: Path, experiment_id: str, options: LocalOptions | None, clock: Clock) -> None:
        self.options = options or LocalOptions()
        self.poll_s, self.quiet_poll_s = self.options.poll_s, self.options.quiet_poll_s
        self._experiment_id, self._clock = experiment_id, clock
        self._folder = ExperimentPaths(experiment_dir.absolute()).jobs
        self._place = Place.here()
        self._me = (os.getpid(), machine.start_time(os.getpid()) or "")
        self._slots: MachineResources | None = None
        self._records: dict[str, LocalRecord] | None = None
        self._over: dict[str, JobStatus] = {}
        self._started: dict[str, LocalJob[object]] = {}
        self._ending: list[LocalJob[object]] = []
        self._missed_since: dict[str, float] = {}

    @property
    def slots(self) -> MachineResources:
        """What this machine offers to the experiment."""
        if self._slots is None:
            self._slots = _slots(self.options)
        return self._slots

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError if this machine does not have these resources at all."""
        self.slots.check(resources)

    def room(self, resources: Resources) -> int:
        """How many more jobs of this kind fit beside those that run, including adopted ones."""
        return self.slots.room(resources, self._taken())

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Start each request immediately, or refuse it if its resources are not free."""
        return [self._submit(request) for request in requests]

    def _submit(self, request: JobRequest) -> SubmitOutcome:
        try:
            self.check(request.resources)
        except RequestRejectedError as error:
            return Refused(str(error), permanent=True)
        share = self.slots.assign(request.resources, self._taken())
        if share is None:
            return Refused("No CPUs or GPUs are free on this machine now.", permanent=False)
        job_id = f"{_PREFIX}{uuid.uuid4().hex[:10]}"
        path = self._folder / f"{job_id}.json"
        record = LocalRecord(job_id, request.tag, self._place, share, self._me, None, path)
        try:
            permissions.make_directory(self._folder, exist_ok=True)
            record.write()
            self._started[job_id] = start(request, record, self.options, self.slots.gpus)
        except (OSError, StorageError) as error:
            with contextlib.suppress(OSError):
                record.remove()
            return Refused(f"The process cannot be started: {error}", permanent=False)
        self._known()[job_id] = record
        return Accepted(job_id)

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment. Ended ones are listed until they are tidied.

        Raises ClusterUnavailableError if a job was started on another machine: its state is known only there.
        """
        self._ending = [process for process in self._ending if _runs(process)]
        return [self._look(record) for record in self._known().values()]

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Send SIGTERM to all processes of these jobs. :meth:`jobs` sends SIGKILL ``kill_wait_s`` later."""
        for job_id in job_ids:
            record = self._known().get(job_id)
            if record is None or self._look(record).state.final:
                continue
            if record.cancelled_at is None:
                record.cancelled_at = self._clock.now()
                record.write()
                if not revoke(record.run_path):
                    self._signal(record, signal.SIGTERM)

    @property
    def kills_within_s(self) -> float:
        """Seconds after a cancel during which :meth:`jobs` must be called until the processes are surely gone."""
        return self.options.kill_wait_s + 5.0

    def preview(self, request: JobRequest) -> str:
        """The command, and the variables that its environment has in addition to the driver's."""
        share = self.slots.assign(request.resources, ()) or Allocation(request.resources.cpus)
        record = LocalRecord("local-ID", request.tag, self._place, share)
        env = environment(request, self.options, record, self.slots.gpus, {})
        words = command_line(request, self.options)
        return "\n".join([*(f"{k}={v!r}" for k, v in env.items()), " ".join(map(repr, words))]) + "\n"

    def stats(self) -> CallStats:
        """No commands are called."""
        return CallStats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the records of those of these jobs that are over."""
        for job_id in job_ids:
            if job_id in self._over and (record := self._known().pop(job_id, None)) is not None:
                with contextlib.suppress(OSError):
                    record.remove()
                del self._over[job_id]

    @property
    def is_ending_jobs(self) -> bool:
        """Whether a job that was cancelled is not over yet, by the last look at the jobs."""
        return any(one.cancelled_at is not None and one.job_id not in self._over for one in self._known().values())

    def close(self) -> None:
        """Release the handles of the processes. The processes go on."""
        _left_running.extend([*self._started.values(), *self._ending])
        self._started.clear()
        self._ending.clear()

    # -- the state of one job ----------------------------------------------------------------------------------------

    def _look(self, record: LocalRecord) -> JobStatus:
        if record.job_id in self._over:
            return self._over[record.job_id]
        process = self._started.get(record.job_id)
        if process is not None:
            _runs(process)
        state, reason = self._state(record)
        status = JobStatus(record.job_id, record.tag, state, reason, record.place.host)
        if state.final:
            self._over[record.job_id] = status
            if process is not None:
                self._ending.append(self._started.pop(record.job_id))
        elif self._kill_due(record):
            self._signal(record, signal.SIGKILL)
        return status

    def _kill_due(self, record: LocalRecord) -> bool:
        at = record.cancelled_at
        return at is not None and self._clock.now() >= at + self.options.kill_wait_s

    def _state(self, record: LocalRecord) -> tuple[JobState, str]:
        note = run_note(record.run_path)
        if note is not None and (note.revoked or note.exit_code is not None):
            return _end(record, note)
        if (record.place.boot, record.place.namespace) != (self._place.boot, self._place.namespace):
            return self._elsewhere(record)
        if note is None:
            return self._not_started(record)
        if note.pid is None:
            return self._blank(record)
        if machine.start_time(note.pid) == note.ticks:
            return JobState.RUNNING, ""
        note = run_note(record.run_path) or note  # the job may have ended since the note was read
        if note.exit_code is None and note.pid is not None and machine.session_lives(note.pid):
            return JobState.RUNNING, "" if record.cancelled_at is not None else "its wrapper process is gone"
        return _end(record, note)

    def _elsewhere(self, record: LocalRecord) -> tuple[JobState, str]:
        if record.place.host == self._place.host:
            return _end(record, RunNote())  # the machine was restarted: no earlier process is left
        raise ClusterUnavailableError(
            f"Job {record.job_id} (trial {record.tag.trial_id}) was started on {record.place.host}, and this is "
            f"{self._place.host}. Resume there. If that machine no longer exists, remove {record.path} and try again."
        )

    def _not_started(self, record: LocalRecord) -> tuple[JobState, str]:
        process = self._started.get(record.job_id)
        if self._lately(record, self._start_timeout_s(record)) if process is None else _runs(process):
            return JobState.PENDING, "starting"
        if not revoke(record.run_path):
            return self._state(record)
        if process is not None and record.cancelled_at is None:
            return JobState.FAILED, f"it ended before it could write {record.run_path}"
        return _end(record, RunNote(revoked=True))

    def _start_timeout_s(self, record: LocalRecord) -> float:
        """Seconds to wait for a note. A driver that is dead has started the process already, or never will."""
        return _START_S if machine.start_time(record.driver[0]) == record.driver[1] else _ORPHAN_S

    def _lately(self, record: LocalRecord, timeout_s: float = _START_S) -> bool:
        """Whether this job's note has been missing for less than ``timeout_s`` seconds."""
        since = self._missed_since.setdefault(record.job_id, self._clock.now())
        return self._clock.now() < since + timeout_s

    def _blank(self, record: LocalRecord) -> tuple[JobState, str]:
        return (JobState.PENDING, "starting") if self._lately(record) else _end(record, RunNote())

    def _signal(self, record: LocalRecord, number: signal.Signals) -> None:
        note = run_note(record.run_path)
        if note is None or note.pid is None:
            return
        if machine.start_time(note.pid) == note.ticks or machine.session_lives(note.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(note.pid, number)

    # -- the records -------------------------------------------------------------------------------------------------

    def _known(self) -> dict[str, LocalRecord]:
        if self._records is None:
            found = (LocalRecord.read(path) for path in sorted(self._folder.glob(f"{_PREFIX}*.json")))
            ours = [r for r in found if r is not None and r.tag.experiment_id == self._experiment_id]
            self._records = {record.job_id: record for record in ours}
        return self._records

    def allocations(self) -> dict[str, Allocation]:
        """What the jobs hold that are not over, by their ids."""
        return {job_id: record.share for job_id, record in self._known().items() if job_id not in self._over}

    def _taken(self) -> list[Allocation]:
        return list(self.allocations().values())


def _runs(process: LocalJob[object]) -> bool:
    """Whether a process that this object started runs. A process that has ended is reaped."""
    return process.get_info()["jobState"] == "RUNNING"


def _end(record: LocalRecord, note: RunNote) -> tuple[JobState, str]:
    code = note.exit_code
    if record.cancelled_at is not None:
        return JobState.CANCELLED, "cancelled"
    if note.revoked:
        return JobState.LOST, "it was never started"
    if code is None:
        return JobState.LOST, "its process is gone and left no exit code (killed, or the machine was restarted)"
    if code == 0:
        return JobState.COMPLETED, ""
    if code > 128 and code - 128 in {int(s) for s in signal.Signals}:
        return JobState.FAILED, f"ended by {signal.Signals(code - 128).name}"
    return JobState.FAILED, f"exit code {code}"


def _slots(options: LocalOptions) -> MachineResources:
    cpus = options.cpus if options.cpus is not None else machine.cpu_count()
    return MachineResources(cpus, _gpu_ids(options.gpus), options.resources)


def _gpu_ids(wanted: int | Sequence[int | str] | None) -> tuple[str, ...]:
    if wanted is None:
        return machine.gpu_ids(os.environ)
    if isinstance(wanted, int):
        ids = machine.gpu_ids(os.environ) or tuple(str(i) for i in range(wanted))
        return ids[:wanted]
    return tuple(str(g) for g in wanted)
