"""Trial processes that are reused: their class trainable takes another configuration in place (``reset_config``).

Such a process runs one trial after another. It sends the worker a line at each end, and the worker sends the next
assignment as a line. Before the process claims a trial, it asks the trainable whether it can take the configuration.
If not, the process exits with NOT_REUSABLE, and the worker starts a new process for the same trial.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import traceback
from collections.abc import Mapping
from typing import Any

from hpctune.common import forks
from hpctune.model.pool import Assignment, WorkerSpec
from hpctune.storage import bundle, values
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker.actor_reuse import kept
from hpctune.worker.main import await_control
from hpctune.worker.pool.process import WARNINGS, TrialProcess, enter, own_run, redirect, run_here
from hpctune.worker.runners import clean_up, is_class_trainable
from hpctune.worker.trainable import Trainable

NOT_REUSABLE = 78
IDLE = Assignment(-1, "", (), "", "")
"""The assignment of a reused process between two trials."""


def wanted(experiment: ExperimentPaths) -> bool:
    """Whether the experiment's trainable can take another configuration in place."""
    trainable = bundle.load_trainable(experiment)
    return is_class_trainable(trainable) and trainable.reset_config is not Trainable.reset_config


def channel() -> tuple[int, int]:
    """Two connected file descriptors."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


# -- the worker's end ----------------------------------------------------------------------------------------------


def assign(child: TrialProcess, assignment: Assignment) -> bool:
    """Send the next assignment to a reused process; False if the process cannot take it."""
    if own_run(assignment) is None:
        return False
    text = [assignment.number, assignment.tag, assignment.command, assignment.stdout, assignment.stderr]
    try:
        os.write(child.lines, values.dumps([*text, dict(assignment.env)]).encode() + b"\n")
    except OSError:
        return False
    return True


def poll_exit(child: TrialProcess) -> int | None:
    """The exit code of the trial that has just ended in ``child``; None if none has ended."""
    os.set_blocking(child.lines, False)
    try:
        said = os.read(child.lines, 64)
    except OSError:
        return None
    return int(said) if said.strip() else None


def release(child: TrialProcess) -> None:
    """Tell a reused process that no more assignments follow."""
    with contextlib.suppress(OSError):
        os.close(child.lines)


# -- the child's end -----------------------------------------------------------------------------------------------


class Actor:
    """A reused trial process. ``lines``: the two ends of its channel, the worker's and its own."""

    def __init__(
        self, spec: WorkerSpec, experiment: ExperimentPaths, lines: tuple[int, int], first: Assignment
    ) -> None:
        self._spec, self._experiment, self._assignment = spec, experiment, first
        self._workers, self._lines = lines

    def work(self) -> int:
        """Run trials until no more follow; returns the exit code."""
        os.close(self._workers)
        forks.own(self)
        kept.wanted = True
        code = self._run()
        while kept.holds:
            os.write(self._lines, f"{code}\n".encode())
            if not self._next():
                break
            signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)  # until the run has its handlers
            redirect(self._assignment)
            enter(f"{self._spec.worker}.{self._assignment.number}", self._assignment)
            if not self._reset():
                code = NOT_REUSABLE
                break
            code = self._run()
        trainable = kept.release()
        if trainable is not None:
            clean_up(trainable)
        return code

    def forget(self) -> None:
        """In a forked child: close what only this process may use."""
        os.close(self._lines)

    def _run(self) -> int:
        run = own_run(self._assignment)
        assert run is not None
        return run_here(run, self._spec)

    def _next(self) -> bool:
        """Wait for the next assignment; False when the worker has closed its end."""
        text = b""
        while not text.endswith(b"\n"):
            part = os.read(self._lines, 1 << 16)
            if not part:
                return False
            text += part
        number, tag, command, stdout, stderr, env = json.loads(text)
        self._assignment = Assignment(number, tag, tuple(command), stdout, stderr, env)
        return True

    def _reset(self) -> bool:
        """Reset the trainable for the next trial; False if it refuses. A trial that is over needs no reset."""
        run = own_run(self._assignment)
        assert run is not None
        control = await_control(self._experiment, self._experiment.trial(run.dirname), run.attempt)
        return control is None or _takes(control.config)


def _takes(config: Mapping[str, Any]) -> bool:
    try:
        return kept.reset(config)
    except Exception:
        traceback.print_exc()
        return False
