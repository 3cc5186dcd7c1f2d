"""``python -m hpctune.worker.pool EXPERIMENT_DIR WORKER``: a job that runs many trials, one after the other.

The worker imports the user's code once. For each assignment it forks a process, records its start and its end, and
takes the next assignment. It makes no decisions: the pool in the driver chooses the trial and checks the time left.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

from hpctune.common import forks
from hpctune.common.log import log, show_messages
from hpctune.common.poll import wait_readable
from hpctune.common.processes import exit_now
from hpctune.errors import StorageError
from hpctune.model.pool import (
    Assignment,
    Began,
    Claimed,
    Ended,
    Left,
    Ready,
    Retracted,
    WorkerOrders,
    WorkerRecord,
    WorkerSpec,
)
from hpctune.storage import bundle, permissions, worker_files
from hpctune.storage.doorbell import DoorbellClient
from hpctune.storage.layout import ExperimentPaths, WorkerPaths
from hpctune.storage.worker_files import WorkerFile
from hpctune.usercode import main_module
from hpctune.worker import scratch
from hpctune.worker.autofill import node_ip
from hpctune.worker.container import end_with_program
from hpctune.worker.job import job_began, job_id_here
from hpctune.worker.main import VISIBLE_WITHIN_S, missing_directory
from hpctune.worker.pool import resources
from hpctune.worker.pool.process import WARNINGS, ProcessSpawner
from hpctune.worker.pool.slots import ProcessSlots, send
from hpctune.worker.pool.warmup import warm_up
from hpctune.worker.runners import known_form

MIN_LOOK_S, MAX_LOOK_S = 0.01, 0.5
"""Seconds between two reads of the orders: right after work, and after a long idle time."""
PATIENCE = 20.0
"""After T idle seconds the worker reads again after T / PATIENCE seconds."""


def main() -> None:
    """Serve, and exit even if user code has left threads or processes behind."""
    end_with_program()
    code = 1
    show_messages()
    main_module.offer()
    try:
        code = serve(ExperimentPaths(Path(sys.argv[1]).absolute()), sys.argv[2])
    except BaseException:
        traceback.print_exc()
    exit_now(code)


def serve(experiment: ExperimentPaths, name: str) -> int:
    """Run as worker ``name`` until there is nothing more to do. Returns the exit code."""
    paths = experiment.worker(name)
    spec = _await_spec(paths)
    if spec is None and not permissions.exists(experiment.root):
        log.error(f"hpctune: error: {missing_directory(experiment.root)}")
        return 1
    if spec is None:
        log.warning(f"hpctune: nothing to do: there is no worker {name} in {experiment.root}.")
        return 0
    claimed = _claim(paths)
    if claimed is None:
        log.warning(f"hpctune: nothing to do: worker {name} has already been started.")
        return 0
    resources.limit_threads(spec, os.environ)
    worker = Worker(experiment, paths, spec, *claimed)
    worker.prepare()
    return worker.work()


def _await_spec(paths: WorkerPaths) -> WorkerSpec | None:
    """This worker's specification. Waits, because the shared directory may show it late."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while (spec := worker_files.read_spec(paths)) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    return spec


def _claim(paths: WorkerPaths) -> tuple[WorkerFile, int] | None:
    """Claim the first free start, up to the number of restarts by Slurm."""
    for run in range(int(os.environ.get("SLURM_RESTART_COUNT") or 0) + 1):
        claim = Claimed(run, job_id_here(), socket.gethostname(), os.getpid(), time.time(), job_began())
        file = WorkerFile.claim(paths.run(run), claim)
        if file is not None:
            return file, run
    return None


class Worker:
    """One start of one worker."""

    def __init__(
        self, experiment: ExperimentPaths, paths: WorkerPaths, spec: WorkerSpec, file: WorkerFile, run: int
    ) -> None:
        self._experiment, self._paths, self._spec, self._file, self._run = experiment, paths, spec, file, run
        self._orders, self._text = WorkerOrders(run), b""
        self._seen: set[int] = set()
        """Numbers of assignments that have begun or were retracted."""
        self._owed: list[WorkerRecord] = []
        """Records that could not be written so far."""
        self._exit_reason = ""
        """Reason to exit; "" if none."""
        self._superseded = False
        self._active_at = time.monotonic()
        self._bell, self._ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ring, False)
        self._ringer = DoorbellClient(experiment.doorbell)
        """Connection to the driver: it notifies the driver of events, and is notified of new orders."""
        self._hears_signals = False
        self._spawner = ProcessSpawner(spec, experiment)
        self._slots = ProcessSlots(spec, experiment, self._spawner)
        forks.own(self)

    def prepare(self) -> None:
        """Import the user's code. If the import fails, each trial fails with the same error under its own name."""
        here = Path.cwd()
        scratch.sweep_once()
        scratch.keep_sockets_together()
        node_ip()  # found once, for all trials
        if self._spec.start == "fork":
            warm_up()
        try:
            bundle.preload(self._experiment)
            known_form(bundle.load_trainable(self._experiment))
        except KeyboardInterrupt:
            raise
        except BaseException:
            traceback.print_exc()
        os.chdir(here)
        self._spawner.randomness.imported()
        for number in WARNINGS:
            forks.set_handler(number, self._warned)
        forks.set_handler(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        self._hears_signals = True
        gc.collect()
        gc.freeze()  # these objects are not modified any more, so the forked processes share their memory
        self._file.append(Ready(time.time()))
        self._ringer.ring()

    def forget(self) -> None:
        """In a forked child: close what only the worker may use."""
        if self._hears_signals:
            signal.set_wakeup_fd(-1)
        os.close(self._bell)
        os.close(self._ring)
        for other in self._slots.children.values():
            if other.lines >= 0:
                os.close(other.lines)

    def work(self) -> int:
        """Take assignments until it is time to exit; returns the exit code."""
        while True:
            self._reap()
            self._look()
            if self._superseded:
                self._slots.kill()  # a newer start of this worker has replaced this one, so these trials are not valid
                return 0
            self._cancel_and_return()
            while not self._leaving() and (due := self._due()) is not None and self._begin(due):
                pass
            if self._exit_reason:
                self._slots.warn()  # also processes that were starting when the signal arrived
            if self._may_go():
                self._slots.dismiss()
                scratch.remove_sockets()
                self._say(Left(self._leaving(), time.time()))
                return 0
            self._wait()

    # -- orders --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read the orders, if they are readable. Orders for another start of this worker are ignored."""
        try:
            text = worker_files.read_orders(self._paths)
        except StorageError:
            return
        if not text and not self._experiment.root.is_dir():
            self._exit_reason = self._exit_reason or "the experiment's directory is gone"
        if text == self._text:
            return
        orders = worker_files.parse_orders(text)
        if orders is None:
            return
        self._text = text
        self._superseded = orders.run > self._run
        if orders.run == self._run:
            self._orders = orders
            self._active_at = time.monotonic()

    def _leaving(self) -> str:
        """Why no more trial may start; "" if one may."""
        return self._exit_reason or self._orders.leave

    def _due(self) -> Assignment | None:
        """The next assignment, if a slot is free for it."""
        if self._slots.free_slot() is None:
            return None
        return next((a for a in self._orders.assignments if a.number not in self._seen), None)

    def _cancel_and_return(self) -> None:
        pending = {a.number for a in self._orders.assignments} - self._seen
        never = pending.intersection(self._orders.cancel)
        back = pending.intersection(self._orders.retracted) - never
        if never or back:
            self._say(*(Ended(n, None, time.time(), "cancelled") for n in sorted(never)))
            self._say(*(Retracted(n, time.time()) for n in sorted(back)))
            self._seen |= never | back
        for number in self._orders.cancel:
            self._slots.cancel(number)

    def _warned(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: Slurm or a user asks this worker to exit, so its trials exit at their next reports. Slurm may
        have signalled the trials too. A second SIGTERM means "now", so the first signal passed on is not SIGTERM."""
        name = signal.Signals(number).name
        again = bool(self._exit_reason) and number == signal.SIGTERM
        self._exit_reason = self._exit_reason or f"{name} received"
        if again:
            for child in self._slots.busy():
                send(child.pid, signal.SIGTERM)
        self._slots.warn()

    def _say(self, *records: WorkerRecord) -> bool:
        """Write the records. If the disk refuses, they are written later, in order. False: some are not yet written."""
        self._owed += records
        try:
            while self._owed:
                self._file.append(self._owed[0])
                self._owed.pop(0)
        except OSError:
            return False
        if records:
            self._ringer.ring()
        return True

    # -- children ------------------------------------------------------------------------------------------------

    def _begin(self, assignment: Assignment) -> bool:
        """Start it; False if its start cannot be recorded: then it does not start."""
        if not self._say():
            return False
        slot = self._slots.free_slot()
        assert slot is not None
        output = (assignment.stdout, assignment.stderr)
        try:
            self._file.append(Began(assignment.number, assignment.tag, slot, output, time.time()))
        except OSError:
            return False
        self._seen.add(assignment.number)
        self._active_at = time.monotonic()
        failed = self._slots.begin(assignment, slot)
        if failed is not None:
            self._say(failed)
        return True

    def _reap(self) -> None:
        """Record which trials have ended."""
        ended = self._slots.reap()
        if ended:
            self._say(*ended)
            self._active_at = time.monotonic()

    # -- time ----------------------------------------------------------------------------------------------------

    def _may_go(self) -> bool:
        if self._slots.busy():
            return False
        idle_s = time.monotonic() - self._active_at
        if not self._leaving() and self._due() is None and idle_s > self._patience_s():
            self._exit_reason = f"nothing to do for {idle_s:.0f} s"
        return bool(self._leaving())

    def _patience_s(self) -> float:
        """Seconds that this worker may be idle."""
        return max(self._spec.idle_timeout_s, self._orders.idle_grace_s)

    def _wait(self) -> None:
        """Wait until a process ends or sends a line, a signal arrives, or the next poll is due."""
        quiet_s = time.monotonic() - self._active_at
        pause = min(max(quiet_s / PATIENCE, MIN_LOOK_S), MAX_LOOK_S)
        full = self._slots.free_slot() is None
        rings = [] if full else self._ringer.ends()
        lines = [child.lines for child in self._slots.busy() if child.lines >= 0]
        wait_readable([self._bell, *rings, *lines], MAX_LOOK_S if full else pause)
        self._ringer.heard()
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)
