"""One trial process of a worker: forked from it (user code is already imported), or started as a new program."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from hpctune.common import forks
from hpctune.common.processes import exit_now, forget_exit_functions
from hpctune.errors import TuneError
from hpctune.model.pool import Assignment, WorkerSpec
from hpctune.storage import permissions
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker.pool import resources
from hpctune.worker.pool.random_state import Randomness

WARNINGS = frozenset({signal.SIGTERM, signal.SIGUSR2})
"""Signals by which Slurm and users ask a job to exit."""
_OWN_COMMAND = ("-u", "-m", "hpctune.worker")
_PR_SET_PDEATHSIG = 1
_TERMINATE_S = 2.0
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


@dataclass(slots=True)
class TrialProcess:
    """A running trial: ``pid`` is also its process group. ``started_at`` and ``cancelled_at``: monotonic seconds.
    ``warned``: the trial was asked to exit at its next report."""

    pid: int
    slot: int
    assignment: Assignment
    started_at: float
    cancelled_at: float | None = None
    killed: bool = False
    warned: bool = False
    lines: int = -1
    """Descriptor of the channel to a reused process; -1 if the process is not reused."""
    oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class OwnRun:
    """The parts of an assignment whose command is hpctune's own worker."""

    directory: str
    dirname: str
    attempt: int


def own_run(assignment: Assignment) -> OwnRun | None:
    """The run of the assignment; None if its command is not hpctune's worker."""
    command = assignment.command
    if command[1:4] != _OWN_COMMAND or len(command) != 7 or not command[6].isdigit():
        return None
    return OwnRun(command[4], command[5], int(command[6]))


@dataclass(slots=True)
class ProcessSpawner:
    """Starts children."""

    spec: WorkerSpec
    experiment: ExperimentPaths
    randomness: Randomness = field(default_factory=Randomness)

    def fork(self, job_id: str, assignment: Assignment, slot: int, work: Callable[[], int]) -> int:
        """Fork a child that calls ``work`` as its whole program; returns its process id. Raises OSError."""
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
        try:
            pid = os.fork()
            if pid == 0:
                self._run_child(parent, job_id, assignment, slot, work)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        with contextlib.suppress(OSError):  # the child has already done so, or has exited
            os.setpgid(pid, pid)
        return pid

    def _run_child(self, parent: int, job_id: str, assignment: Assignment, slot: int, work: Callable[[], int]) -> None:
        """Never returns. The signals of WARNINGS stay blocked until the run has its handlers."""
        code = 1
        try:
            os.setpgid(0, 0)
            _die_with(parent)
            forget_exit_functions()
            forks.set_handler(signal.SIGUSR2, signal.SIG_IGN)  # it has no meaning between two trials
            redirect(assignment)
            enter(job_id, assignment)
            resources.take(self.spec, slot)
            self.randomness.renew()
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            exit_now(code)

    def spawn(self, job_id: str, assignment: Assignment, slot: int) -> int:
        """Start the assignment's command as a new program; returns its process id. Raises OSError."""
        command = list(assignment.command)
        if own_run(assignment) is not None:
            command[0] = sys.executable
        parent = os.getpid()

        def prepare() -> None:
            _die_with(parent)
            resources.take(self.spec, slot)

        env = {**os.environ, **assignment.env, "HPCTUNE_JOB_ID": job_id}
        visible = resources.devices(self.spec, slot, os.environ)
        if visible is not None:
            env["CUDA_VISIBLE_DEVICES"] = visible
        out, err = (permissions.open_to_append(path, parents=True) for path in (assignment.stdout, assignment.stderr))
        try:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0, preexec_fn=prepare
            )
        finally:
            os.close(out)
            os.close(err)
        process.returncode = 0  # the worker reaps it by its process id, so Popen must not
        return process.pid


def redirect(assignment: Assignment) -> None:
    """Redirect the output of this process to the files of the assignment, and its input to nothing."""
    for target, path in ((0, None), (1, assignment.stdout), (2, assignment.stderr)):
        fd = os.open(os.devnull, os.O_RDONLY) if path is None else permissions.open_to_append(path, parents=True)
        os.dup2(fd, target)
        os.close(fd)


def enter(job_id: str, assignment: Assignment) -> None:
    """Set the environment to that of the assignment's job."""
    os.environ.update(assignment.env)
    os.environ["HPCTUNE_JOB_ID"] = job_id


def run_here(run: OwnRun, spec: WorkerSpec) -> int:
    """Run the attempt in this process; returns the exit code of ``python -m hpctune.worker``."""
    from hpctune.worker.main import run_attempt

    if spec.wait_for_gpu and spec.gpus >= 1:
        _await_gpu()
    try:
        return run_attempt(run.directory, run.dirname, run.attempt, rings=False)
    except TuneError as error:
        print(f"hpctune: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _await_gpu() -> None:
    """Wait until the previous trial's GPU memory is released. On timeout, start anyway."""
    from hpctune.worker.gpus import wait_for_gpu

    try:
        wait_for_gpu(delay_s=1, retry=60)
    except RuntimeError as error:
        print(f"hpctune: {error}", file=sys.stderr)


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when the worker dies: a trial without its worker could run twice."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


# -- the end of one ------------------------------------------------------------------------------------------------


def end_group(pid: int, sleep: Callable[[float], None]) -> None:
    """End what a finished trial has left running in its process group: first SIGTERM, then SIGKILL."""
    waited = 0.0
    number = signal.SIGTERM
    while True:
        try:
            os.killpg(pid, number)
        except (ProcessLookupError, PermissionError):
            return
        if number is signal.SIGKILL:
            return
        sleep(0.05)
        waited += 0.05
        number = signal.SIGKILL if waited >= _TERMINATE_S else signal.Signals(signal.SIGTERM)


def first_saved_s(run: OwnRun, experiment: ExperimentPaths) -> float | None:
    """Seconds from the run's start to its first checkpoint, read from its run file; None if it made none."""
    import json

    path = experiment.trial(run.dirname).run(run.attempt, 0)
    try:
        with open(path, "rb") as file:
            line = next((li for li in file if b'"checkpoint":' in li[:80] and li.startswith(b'{"seq"')), b"")
        return float(json.loads(line)["row"]["time_since_restore"]) if line else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
