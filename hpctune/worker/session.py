"""The running trial in this process: what is behind ``hpctune.report`` and ``hpctune.get_checkpoint``."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.model.ids import RunKey
from hpctune.model.records import Control, Outcome
from hpctune.model.rows import flatten, number
from hpctune.stopper.split import reached
from hpctune.storage import checkpoints, controlfile, values
from hpctune.storage.layout import TrialPaths
from hpctune.storage.runfile import RunFile
from hpctune.worker.autofill import Counters, node_ip
from hpctune.worker.endings import EndOfRun

LOOK_S = 1.0
"""Seconds between two looks at the control file: one open on the shared filesystem each."""
SYNC_S = 1.0
"""Seconds after which a report is visible to other nodes at the latest."""
_OURS = frozenset({
    "config", "date", "experiment_id", "experiment_tag", "hostname", "iterations_since_restore", "node_ip", "pid",
    "time_since_restore", "time_this_iter_s", "time_total_s", "timestamp", "timesteps_since_restore",
    "training_iteration", "trial_id", "job_id", "attempt", "node_list",
})  # fmt: skip
"""Fields that a report cannot set: they are filled in."""


class Session:
    """One run of one attempt. Reports may come from any thread.

    ``restored``: the checkpoint that the run starts from, if any. ``criteria`` are evaluated here, so a trial stops
    exactly at the report that reaches one.
    """

    def __init__(
        self, control: Control, run: RunKey, paths: TrialPaths, file: RunFile, restored: Path | None, job_id: str,
        nodes: str,
    ) -> None:  # fmt: skip
        self.control, self.run, self.paths, self._file = control, run, paths, file
        self.restored = restored
        self.pid = os.getpid()
        self.newest_checkpoint = restored
        """What a restart in this process would go on from."""
        start = checkpoints.read_progress(restored) if restored is not None else checkpoints.Progress()
        self.counters = Counters(start)
        self.staged: Path | None = None
        """A checkpoint that was written by ``checkpoint_dir`` and waits for its report."""
        self.ending: EndOfRun | None = None
        self.interrupted = ""
        """Why the run is to leave at its next report: the signal's name."""
        self.results = 0
        self.saved_at: int | None = None
        """The iteration of the last checkpoint that was saved or staged."""
        self._private: Path | None = None
        self._lock = threading.RLock()
        self._looked_at = time.monotonic()
        self._unsynced = False
        self._constant = {
            "trial_id": control.trial_id,
            "experiment_id": control.experiment_id,
            "experiment_tag": control.experiment_tag,
            "hostname": socket.gethostname(),
            "node_ip": node_ip(),
            "pid": os.getpid(),
            "job_id": job_id,
            "attempt": run.attempt,
            "node_list": nodes,
            "config": control.config,
        }
        self._constant_json = values.dumps(self._constant)[1:]
        self._closed = threading.Event()
        threading.Thread(target=self._sync_now_and_then, name="hpctune-sync", daemon=True).start()

    # -- reports ------------------------------------------------------------------------------------------------

    def report(self, metrics: Mapping[str, Any], checkpoint: Path | None = None, *, final: bool = False) -> None:
        """Append one result; raises EndOfRun when the run is over with it. ``final``: the trainable is done anyway."""
        with self._lock:
            if self.ending is not None:
                raise self.ending
            own = {k: v for k, v in metrics.items() if k not in _OURS}
            fields = self.counters.next_fields(metrics)
            criterion = self._criterion(own, fields)
            done = final or criterion is not None or bool(own.get("done"))
            name = self._persist(checkpoint)
            self._file.result_text(self._row(own, fields, done), name)
            self.results += 1
            self._unsynced = True
            if criterion is not None:
                self.end(Outcome.COMPLETED, f"stop criterion {criterion} reached")
            if done:
                self.end(Outcome.COMPLETED, "done")
            self._obey(own, fields)

    def _row(self, own: dict[str, Any], fields: dict[str, Any], done: bool) -> str:
        """The row as JSON text; what never changes was made into text once."""
        return f"{values.dumps({**own, **fields, 'done': done})[:-1]},{self._constant_json}"

    def _criterion(self, own: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
        if not self.control.criteria:
            return None
        known = {**self._constant, "done": False, **own, **fields}
        return reached(self.control.criteria, flatten(known))

    def _persist(self, checkpoint: Path | None) -> str | None:
        source = checkpoint or self.staged
        if source is None:
            return None
        self.staged = None
        name = checkpoints.persist(source, self.paths, self.run, self.counters.progress())
        self.newest_checkpoint = self.paths.checkpoint(name)
        return name

    def stage(self, directory: Path) -> None:
        """Save ``directory`` with the next report; one that was staged before and never reported is dropped."""
        if self.staged is not None:
            shutil.rmtree(self.staged, ignore_errors=True)
        self.staged, self.saved_at = directory, self.counters.iteration + 1

    def end(self, outcome: Outcome | None, reason: str) -> None:
        """Raise EndOfRun, now and at every later report."""
        self.ending = EndOfRun(outcome, reason)
        raise self.ending

    # -- orders -------------------------------------------------------------------------------------------------

    def _obey(self, own: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """End the run if a signal, the driver or a milestone says so."""
        if self.interrupted:
            self.end(Outcome.INTERRUPTED, f"{self.interrupted} received")
        value = number({**own, **fields}, self.control.milestone_attr)
        waits = self.control.milestone is not None and value is not None and value >= self.control.milestone
        now = time.monotonic()
        if waits and value is not None:
            self._await_decision(value)
        elif now - self._looked_at >= LOOK_S:
            self._look()

    def _look(self) -> Control:
        """Read the control file and obey it."""
        self._looked_at = time.monotonic()
        orders = controlfile.read_orders(self.paths.control)
        superseded = self.paths.run(self.run.attempt, self.run.restart + 1).exists()
        if orders is None or orders.attempt != self.run.attempt or superseded:
            self.end(None, "another run has this trial now, or it is over")
        assert orders is not None
        if orders.stop is not None:
            self.end(Outcome.STOPPED, orders.stop)
        if orders.pause:
            self.end(Outcome.PAUSED, "told to pause")
        self.control = controlfile.with_orders(self.control, orders)
        return self.control

    def _await_decision(self, value: float) -> None:
        """Wait, for a bounded time, until the driver has let the trial pass ``value``."""
        self._file.sync()
        deadline = time.monotonic() + self.control.decision_timeout_s
        pause = 0.02
        while True:
            control = self._look()
            if control.answered is not None and control.answered >= value:
                return
            if self.interrupted:
                self.end(Outcome.INTERRUPTED, f"{self.interrupted} received")
            if time.monotonic() >= deadline:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def look_now_and_then(self) -> None:
        """Read the control file if it is time; the end of the run is remembered, not raised."""
        if self.ending is None and time.monotonic() - self._looked_at >= LOOK_S:
            with contextlib.suppress(EndOfRun), self._lock:
                self._look()

    def checkpoint_due(self, row: Mapping[str, Any]) -> bool:
        """Whether the result that comes next should be reported with a checkpoint (class trainables)."""
        control, following = self.control, self.counters.iteration + 1
        regular = control.checkpoint_frequency > 0 and following % control.checkpoint_frequency == 0
        last = control.checkpoint_at_end and bool(row.get("done"))
        waits = control.milestone is not None and control.milestone_attr == "training_iteration"
        milestone = waits and following >= (control.milestone or 0)
        return regular or last or milestone or bool(row.get("should_checkpoint")) or bool(self.interrupted)

    @property
    def private_directory(self) -> Path:
        """A directory of this run's own, outside the shared filesystem; it vanishes with the run."""
        if self._private is None:
            self._private = Path(tempfile.mkdtemp(prefix="hpctune-run-"))
        return self._private

    # -- the end ------------------------------------------------------------------------------------------------

    def last_checkpoint(self) -> tuple[str, int] | None:
        """Persist what ``checkpoint_dir`` wrote after the last report; its name and iteration."""
        if self.staged is None:
            return None
        name = self._persist(None)
        return (name, self.counters.iteration) if name else None

    def close(self) -> None:
        """Stop the thread that syncs, and remove the private directory."""
        self._closed.set()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def _sync_now_and_then(self) -> None:
        while not self._closed.wait(SYNC_S):
            if self._unsynced:
                self._unsynced = False
                try:
                    self._file.sync()
                except (OSError, ValueError):  # closed meanwhile
                    return


_current: Session | None = None


def current() -> Session | None:
    """The session of this process; None outside a trial."""
    return _current


def set_current(session: Session | None) -> None:
    """Make ``session`` the one of this process."""
    global _current
    _current = session
