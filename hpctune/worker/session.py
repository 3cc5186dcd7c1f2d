"""The running trial in this process: the implementation of ``hpctune.report`` and ``hpctune.get_checkpoint``."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from hpctune.errors import CheckpointError, StorageError
from hpctune.model.ids import RunKey
from hpctune.model.records import Control, Outcome
from hpctune.model.rows import lookup
from hpctune.model.trial import VacateReason
from hpctune.storage import checkpoints, control_file, permissions, values
from hpctune.storage.doorbell import DoorbellClient
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.storage.ownership import STAGING_PREFIX
from hpctune.storage.run_file import RunFile
from hpctune.worker import scratch
from hpctune.worker.autofill import Counters
from hpctune.worker.checkpoint_notes import CheckpointNotes
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.rows import Rows
from hpctune.worker.storage_retry import is_transient, retry_storage

LOOK_S = 1.0
"""Seconds between two reads of the control file. Each read opens one file on the shared filesystem."""
NOTICE_S = 30.0
"""Seconds that the main thread has to end by itself after another thread or a child has ended the run."""
SYNC_S = 1.0
"""Maximum number of seconds until a report is visible on other nodes."""

_Result = TypeVar("_Result")


class Session:
    """One run of one attempt. Reports may come from any thread.

    ``restored``: the checkpoint from which the run starts, if any. ``criteria`` are evaluated here, so a trial stops
    exactly at the report that meets one.
    """

    def __init__(
        self, control: Control, run: RunKey, paths: TrialPaths, file: RunFile, restored: Path | None, job_id: str,
        nodes: str,
    ) -> None:  # fmt: skip
        self.control, self.run, self.paths, self._file = control, run, paths, file
        self.restored = restored
        self.pid = os.getpid()
        self.newest_checkpoint = restored
        """The checkpoint from which a restart in this process would continue."""
        start = (
            checkpoints.Progress() if restored is None else retry_storage(lambda: checkpoints.read_progress(restored))
        )
        self.counters = Counters(start)
        self.staged: Path | None = None
        """A checkpoint that ``checkpoint_dir`` wrote and that waits for its report."""
        self.ending: EndOfRun | None = None
        self.leaving = False
        """The user's code has ended, so signals have no effect any more."""
        self._noticed = False
        """The main thread has noticed the end of the run."""
        self._ended_at = 0.0
        self.interrupted = ""
        """Name of the signal because of which the run ends at its next report."""
        self.leaves_itself = False
        """The signal was passed on to a program, which may still save and report. The run ends with the program."""
        self.results = 0
        self.saved_at: int | None = None
        """Iteration of the last checkpoint."""
        self._private: Path | None = None
        self._passed: float | None = None
        """Milestone for which no decision arrived in time: the trial has continued past it."""
        self._lock = threading.RLock()
        self._looked_at = time.monotonic()
        self._unsynced = False
        self._rows = Rows(control, run, job_id, nodes)
        self._notes = CheckpointNotes()
        self.ringer = DoorbellClient(ExperimentPaths(permissions.parent(paths.text)).doorbell)
        self._closed = False

    # -- reports ------------------------------------------------------------------------------------------------

    def report(self, metrics: Mapping[str, Any], checkpoint: Path | None = None, *, final: bool = False) -> None:
        """Append one result; raises EndOfRun if the run ends with it. ``final``: the trainable is done in any case."""
        if os.getpid() != self.pid:
            raise EndOfRun(None, "a forked child that returned must not report for the run")
        with self._lock:
            if self.ending is not None:
                self._raise_ending()
            own = self._rows.own(metrics)
            fields = self.counters.next_fields(metrics)
            criterion, complaint = self._rows.criterion(own, fields)
            criterion = criterion or self._end_reached({**own, **fields})
            done = final or criterion is not None or bool(own.get("done"))
            saved, lost = self._try_to_persist(checkpoint)
            self._append(self._rows.text(own, fields, done), saved)
            if lost is not None:
                raise lost
            if complaint is not None:
                self.end(Outcome.FAILED, "the stop criteria cannot be applied", complaint)
            if criterion is not None:
                self.end(Outcome.COMPLETED, f"stop criterion {criterion} reached")
            if done:
                self.end(Outcome.COMPLETED, "done")
            self._apply_orders(own, fields)

    def _append(self, row: str, saved: checkpoints.Saved | None) -> None:
        named = (saved.name, saved.bytes) if saved is not None else ()
        try:
            self.retry_storage(lambda: self._file.result_text(row, *named))
        except OSError as error:
            self._end_if_gone()
            words = f"Cannot write a result to {self._file.path}: {error.strerror or error}."
            if is_transient(error):  # not the trial's fault: it continues from its last checkpoint later
                self.end(Outcome.INTERRUPTED, f"{self.interrupted} received" if self.interrupted else words)
            raise StorageError(words) from error
        self.results += 1
        self._unsynced = True

    def _end_if_gone(self) -> None:
        """End a run whose file was removed: the trial went on elsewhere while this node was cut off. Leave no trace."""
        if self._file.is_gone():
            self.end(None, "the run was given up while this node was cut off")

    def _try_to_persist(self, checkpoint: Path | None) -> tuple[checkpoints.Saved | None, CheckpointError | None]:
        """Save the checkpoint. If that fails, return the error, so that the result is still reported."""
        try:
            return self._persist(checkpoint), None
        except CheckpointError as error:
            return None, error
        except Exception as error:
            lost = CheckpointError(f"Cannot save a checkpoint of {checkpoint}: {type(error).__name__}: {error}.")
            lost.__cause__ = error
            return None, lost

    def _persist(self, checkpoint: Path | None) -> checkpoints.Saved | None:
        source = checkpoint or self.staged
        if source is None:
            return None
        self._end_if_gone()
        if checkpoint is not None:
            self._drop_staged()
        self.staged = None
        progress = self.counters.progress()
        saved = self._save(source, progress)
        self._notes.take(source, saved, progress.iteration)
        self.newest_checkpoint, self.saved_at = self.paths.checkpoint(saved.name), self.counters.iteration
        return saved

    def _save(self, source: Path, progress: checkpoints.Progress) -> checkpoints.Saved:
        newest = self.newest_checkpoint
        previous = newest if newest is not None and newest.parent == self.paths.root else None

        def save() -> checkpoints.Saved:
            return checkpoints.persist(source, self.paths, self.run, progress, keep=True, previous=previous)

        try:
            return self.retry_storage(save)
        except CheckpointError:
            if source.parent == self.paths.root and source.name.startswith(STAGING_PREFIX):
                checkpoints.discard(source)
            raise

    def retry_storage(self, action: Callable[[], _Result]) -> _Result:
        """Return the result of ``action``. While the filesystem refuses, try again until a signal arrives or the time
        limit is over. The waiting does not count as the trial's time."""
        began = time.monotonic()
        try:
            return retry_storage(action, give_up=lambda: self.interrupted or self._file.is_gone())
        finally:
            if (waited := time.monotonic() - began) > 1.0:
                self.counters.skip(waited)

    def stage(self, directory: Path) -> None:
        """Save ``directory`` with the next report. A directory that was staged before and not reported is dropped."""
        self._drop_staged()
        self.staged = directory

    def _drop_staged(self) -> None:
        if self.staged is not None:
            checkpoints.discard(self.staged)
            self.staged = None

    def end(self, outcome: Outcome | None, reason: str, error: Exception | None = None) -> NoReturn:
        """Raise EndOfRun now and at every later report. The first decision stays in force."""
        if self.ending is None:
            self.ending, self._ended_at = EndOfRun(outcome, reason, error), time.monotonic()
        self._raise_ending()

    def fail(self, reason: str, error: Exception) -> NoReturn:
        """Like :meth:`end` with a failure, even if a normal end was decided before."""
        self.ending = None
        self.end(Outcome.FAILED, reason, error)

    def _raise_ending(self) -> NoReturn:
        assert self.ending is not None
        self.acknowledge()
        raise self.ending

    def acknowledge(self) -> None:
        """Record that the main thread has noticed the end of the run, if this is the main thread."""
        self._noticed = self._noticed or threading.current_thread() is threading.main_thread()

    def signalled(self, name: str) -> None:
        """Handle a signal (main thread): end at the next report, or now if it is the second SIGTERM."""
        if self.leaving:
            return
        if self.ending is not None and not self._noticed:
            self._raise_ending()
        again = bool(self.interrupted) and name == "SIGTERM"
        if name == "SIGTERM" or not self.interrupted:  # a warning that comes later says less
            self.interrupted = name
        if again:
            self.end(Outcome.INTERRUPTED, f"{name} received twice")

    # -- orders -------------------------------------------------------------------------------------------------

    def _apply_orders(self, own: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """End the run if a signal, the driver or a milestone requires it."""
        if self._is_interrupted():
            return
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._read_control()
        milestone = self._open_milestone()
        if milestone is not None and self._reaches(milestone, {**own, **fields}):
            self._await_decision(milestone)

    def _is_interrupted(self) -> bool:
        """Whether a signal has arrived, after which nothing may wait. Ends the run, unless its program ends itself."""
        if self.interrupted and not self.leaves_itself:
            self.end(Outcome.INTERRUPTED, f"{self.interrupted} received")
        return bool(self.interrupted)

    def _reaches(self, milestone: float, row: Mapping[str, Any]) -> bool:
        value = values.plain(lookup(row, self.control.milestone_attr))
        return isinstance(value, (int, float)) and value >= milestone

    def _end_reached(self, row: Mapping[str, Any]) -> str | None:
        """The scheduler's limit for every trial, if it is reached. It needs no driver to be obeyed."""
        end = self.control.ends_at_value
        return f"{self.control.milestone_attr}={end:g}" if end is not None and self._reaches(end, row) else None

    def _open_milestone(self) -> float | None:
        """The milestone at which the trial must wait; None if there is none, or the trial has passed it."""
        control = self.control
        coming = [control.milestone]
        if control.milestone == self._passed and control.undecided == "next":
            coming.append(control.milestone_then)
        for value in coming:
            answered = control.answered is not None and value is not None and control.answered >= value
            if value is not None and value != self._passed and not answered:
                return value
        return None

    def _read_control(self) -> None:
        """Read the control file and apply it. If it is unreadable now, it is read again later."""
        self._looked_at = time.monotonic()
        try:
            orders = control_file.read_orders(self.paths.control)
            superseded = permissions.exists(self.paths.run(self.run.attempt, self.run.restart + 1))
        except (StorageError, OSError):
            return
        self._end_if_gone()
        if orders is None or orders.attempt != self.run.attempt or superseded:
            self.end(None, "another run has replaced this one, or the trial is over")
        if orders.stop is not None:
            self.end(Outcome.STOPPED, orders.stop)
        if orders.leave is not None:
            replaced = orders.leave == VacateReason.REPLACE.value
            self.end(Outcome.REPLACED if replaced else Outcome.PAUSED, f"told to leave: {orders.leave}")
        self.control = control_file.with_orders(self.control, orders)

    def _await_decision(self, milestone: float) -> None:
        """Wait once, for a limited time, until the driver allows the trial to pass ``milestone``."""
        self._file.sync()
        self.ringer.ring()
        began = time.monotonic()
        pause = 0.02
        while True:
            self._read_control()
            if self.control.answered is not None and self.control.answered >= milestone:
                break
            if self._is_interrupted():
                break
            if time.monotonic() - began >= self.control.decision_timeout_s:
                last = milestone != self.control.milestone
                if self.control.milestone_pause or self.control.undecided == "pause" or last:
                    self.end(Outcome.PAUSED, f"no decision at {self.control.milestone_attr}={milestone:g} in time")
                self._passed = milestone
                break
            self.ringer.wait(pause)
            pause = min(pause * 1.5, 0.5)
        self.counters.skip(time.monotonic() - began)

    def look_now_and_then(self) -> None:
        """Read the control file if it is due. The end of the run is stored, not raised."""
        due = self.ending is None and time.monotonic() - self._looked_at >= LOOK_S
        if due and self._lock.acquire(blocking=False):  # the lock's holder reads the file itself
            try:
                with contextlib.suppress(EndOfRun):
                    self._read_control()
            finally:
                self._lock.release()

    def checkpoint_due(self, row: Mapping[str, Any]) -> bool:
        """Whether the next result should come with a checkpoint (class trainables)."""
        control, coming = self.control, {**row, **self.counters.peek(row)}
        regular = control.checkpoint_frequency > 0 and coming["training_iteration"] % control.checkpoint_frequency == 0
        last = control.checkpoint_at_end and bool(row.get("done"))
        milestone = self._open_milestone()
        waits = milestone is not None and self._reaches(milestone, coming)
        return regular or last or waits or bool(row.get("should_checkpoint")) or bool(self.interrupted)

    @property
    def private_directory(self) -> Path:
        """A directory of this run outside the shared filesystem; it is removed at the end of the run."""
        if self._private is None:
            self._private = scratch.make()
        return self._private

    # -- the end ------------------------------------------------------------------------------------------------

    def last_checkpoint(self) -> tuple[str, int, int] | None:
        """Persist what ``checkpoint_dir`` wrote after the last report; its name, iteration and bytes."""
        if self.staged is None:
            return None
        saved = self._persist(None)
        return (saved.name, self.counters.iteration, saved.bytes) if saved is not None else None

    def close(self) -> None:
        """Let the sync thread end at its next wake-up, and remove the private directory."""
        self._closed = True
        self.ringer.close()
        self._drop_staged()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def watch(self, door: socket.socket | None = None, answer: Callable[[], None] = lambda: None) -> None:
        """Start the only thread of the session. It syncs reports, makes sure that a finished run ends, and calls
        ``answer`` when a client connects to ``door``."""
        doors = select.poll()
        if door is not None:
            doors.register(door, select.POLLIN)
        start_new_thread(self._watch, (doors, answer))  # unlike Thread, this does not wait for its start

    def _watch(self, doors: select.poll, answer: Callable[[], None]) -> None:
        due_at = time.monotonic() + SYNC_S
        while not self._closed:
            for end, event in doors.poll(1000 * max(0.0, due_at - time.monotonic())):
                if event & select.POLLIN and not self._closed:
                    answer()
                else:  # closed by user code or by hpctune
                    doors.unregister(end)
            if time.monotonic() >= due_at:
                self._sync_and_see()
                due_at = time.monotonic() + SYNC_S

    def _sync_and_see(self) -> None:
        if self.ending is not None and not self._noticed and time.monotonic() - self._ended_at > NOTICE_S:
            main = threading.main_thread().ident
            if main is not None and signal.getsignal(signal.SIGUSR2) not in (signal.SIG_DFL, signal.SIG_IGN, None):
                signal.pthread_kill(main, signal.SIGUSR2)
        if self._unsynced:
            self._unsynced = False
            with contextlib.suppress(OSError, ValueError):  # closed in the meantime
                self._file.sync()


_current: Session | None = None


def current() -> Session | None:
    """The session of this process; None outside a trial."""
    return _current


def set_current(session: Session | None) -> None:
    """Set the session of this process."""
    global _current
    _current = session
