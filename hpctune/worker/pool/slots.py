"""The trial processes of a worker, by slot: running ones, and idle ones kept for the next trial."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from hpctune.model.pool import Assignment, Ended, WorkerSpec
from hpctune.storage import bundle
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker.memory import oom_kills
from hpctune.worker.pool import actor as pool_actor
from hpctune.worker.pool.process import (
    WARNINGS,
    OwnRun,
    ProcessSpawner,
    TrialProcess,
    end_group,
    first_saved_s,
    own_run,
    run_here,
)

WORTH_MEASURING_S = 5.0
"""Seconds. A shorter trial fits into any allocation, so its first checkpoint is not timed."""


class ProcessSlots:
    """Starts trials, and reports how they ended. Makes no decisions."""

    def __init__(self, spec: WorkerSpec, experiment: ExperimentPaths, spawner: ProcessSpawner) -> None:
        self._spec, self._experiment, self._spawner = spec, experiment, spawner
        self.children: dict[int, TrialProcess] = {}
        """Processes by slot. A process whose assignment is over may stay for the next one."""

    def busy(self) -> list[TrialProcess]:
        """The processes that run a trial."""
        return [child for child in self.children.values() if child.assignment.number >= 0]

    def free_slot(self) -> int | None:
        """The first slot without a trial; None if all are busy."""
        taken = {child.slot for child in self.busy()}
        return next((slot for slot in range(self._spec.slots) if slot not in taken), None)

    def begin(self, assignment: Assignment, slot: int) -> Ended | None:
        """Start it in ``slot``; if that is impossible, returns how it ended."""
        staying = self.children.get(slot)
        if staying is not None and pool_actor.assign(staying, assignment):
            staying.assignment, staying.started_at = assignment, time.monotonic()
            staying.cancelled_at, staying.killed = None, False
            return None
        if staying is not None:
            self._end_staying(staying)
        return self._start(assignment, slot)

    def _start(self, assignment: Assignment, slot: int) -> Ended | None:
        job_id = f"{self._spec.worker}.{assignment.number}"
        run = own_run(assignment)
        kills = oom_kills()
        lines = -1
        try:
            if run is None or self._spec.start == "spawn" or not bundle.preloaded(self._experiment):
                pid = self._spawner.spawn(job_id, assignment, slot)
            elif pool_actor.wanted(self._experiment):
                ours, theirs = pool_actor.channel()
                lines = ours
                actor = pool_actor.Actor(self._spec, self._experiment, (ours, theirs), assignment)
                pid = self._spawner.fork(job_id, assignment, slot, actor.work)
                os.close(theirs)
            else:
                pid = self._spawner.fork(job_id, assignment, slot, lambda: self._run_alone(run))
        except OSError as error:
            print(f"hpctune: {job_id} cannot be started: {error}", file=sys.stderr)
            return Ended(assignment.number, 1, time.time())
        self.children[slot] = TrialProcess(pid, slot, assignment, time.monotonic(), lines=lines, oom_kills=kills)
        return None

    def _run_alone(self, run: OwnRun) -> int:
        """Run in a child process that serves only this trial."""
        bundle.inherit(ExperimentPaths(run.directory))
        return run_here(run, self._spec)

    def reap(self) -> list[Ended]:
        """The trials that have ended since the last call."""
        ended: list[Ended | None] = []
        for child in list(self.children.values()):
            if child.lines >= 0 and child.assignment.number >= 0 and (code := pool_actor.poll_exit(child)) is not None:
                ended.append(self._end_of(child, code))
                child.assignment = pool_actor.IDLE
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            del self.children[child.slot]
            if child.lines >= 0:
                os.close(child.lines)
            code = os.waitstatus_to_exitcode(status)
            end_group(child.pid, time.sleep)
            if child.assignment.number < 0:
                continue
            if code == pool_actor.NOT_REUSABLE and child.lines >= 0:
                ended.append(self._start(child.assignment, child.slot))
            else:
                ended.append(self._end_of(child, code))
        return [each for each in ended if each is not None]

    def _end_of(self, child: TrialProcess, code: int) -> Ended:
        run = own_run(child.assignment)
        long = time.monotonic() - child.started_at > WORTH_MEASURING_S
        saved_s = first_saved_s(run, self._experiment) if run is not None and long else None
        why = "cancelled" if child.cancelled_at is not None else ""
        if not why and child.warned and -code in WARNINGS:
            why = "warned"  # it had not yet installed its signal handlers
        if not why and code == -signal.SIGKILL and oom_kills() > child.oom_kills:
            why = "oom"
        return Ended(child.assignment.number, code, time.time(), why, saved_s)

    def cancel(self, number: int) -> None:
        """End this trial if it runs: first SIGTERM, and SIGKILL after the grace period."""
        now = time.monotonic()
        for child in self.busy():
            if child.assignment.number != number:
                continue
            if child.cancelled_at is None:
                child.cancelled_at = now
                send(child.pid, signal.SIGTERM, group=True)
            elif now - child.cancelled_at > self._spec.kill_wait_s and not child.killed:
                child.killed = True
                send(child.pid, signal.SIGKILL, group=True)

    def warn(self) -> None:
        """Ask the trials to exit at their next reports, each once."""
        for child in self.busy():
            if not child.warned:
                child.warned = True
                send(child.pid, signal.SIGUSR2)

    def _end_staying(self, child: TrialProcess) -> None:
        """End an idle reused process that is not needed any more."""
        pool_actor.release(child)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child.pid, 0)
        end_group(child.pid, time.sleep)
        self.children.pop(child.slot, None)

    def dismiss(self) -> None:
        """End all idle reused processes."""
        for child in list(self.children.values()):
            self._end_staying(child)

    def kill(self) -> None:
        """Kill all processes at once."""
        for child in self.children.values():
            send(child.pid, signal.SIGKILL, group=True)


def send(pid: int, number: signal.Signals, *, group: bool = False) -> None:
    """Send a signal to a process, or to its group; no effect if the process is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number) if group else os.kill(pid, number)
