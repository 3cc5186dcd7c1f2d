"""What a job runs: one attempt of one trial, from its claim to its exit record."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from hpctune.errors import StorageError, TuneError
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, ErrorInfo, Exit, Outcome, ResultRow, RunRecord
from hpctune.storage import bundle, checkpoints, controlfile
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.storage.runfile import RunFile, RunTail
from hpctune.worker.channel import Channel
from hpctune.worker.endings import EndOfRun
from hpctune.worker.runners import run_trainable
from hpctune.worker.session import Session, set_current

VISIBLE_WITHIN_S = 60.0
"""How long the shared directory may take to show what the driver wrote before it submitted."""


def run_attempt(experiment_dir: Path, dirname: str, attempt: int) -> int:
    """Run the attempt to its end. Returns 0 when the run left an exit record or had nothing to do.

    Nothing that user code raises comes out of here, except KeyboardInterrupt.
    """
    experiment = ExperimentPaths(experiment_dir)
    paths = experiment.trial(dirname)
    control = _await_control(paths, attempt)
    if control is None:
        print(f"hpctune: nothing to do: {dirname} attempt {attempt} is over or superseded.", flush=True)
        return 0
    run = RunKey(control.trial_id, attempt, int(os.environ.get("SLURM_RESTART_COUNT") or 0))
    earlier = _earlier_records(paths, run)
    if any(isinstance(record, Exit) for record in earlier):
        print(f"hpctune: nothing to do: {dirname} attempt {attempt} has ended already.", flush=True)
        return 0
    # Chosen before the claim: the driver takes in what was written before it, and no more.
    restored = _restore_point(paths, control, earlier)
    job_id, nodes = job_id_here(), os.environ.get("SLURM_JOB_NODELIST", "")
    claim = Claim(run, job_id, socket.gethostname(), os.getpid(), time.time(), nodes)
    file = RunFile.claim(paths.run(attempt, run.restart), claim)
    if file is None:
        print(f"hpctune: nothing to do: run {run} has been claimed by another job.", flush=True)
        return 0
    checkpoints.tidy(paths)
    session = Session(control, run, paths, file, restored, job_id, nodes)
    with _inside(session, paths):
        _run(session, experiment, file)
    return 0


def job_id_here() -> str:
    """The id of the job that this process is in, as the cluster lists it."""
    return os.environ.get("HPCTUNE_JOB_ID") or os.environ.get("SLURM_JOB_ID") or f"pid-{os.getpid()}"


# -- before the claim ----------------------------------------------------------------------------------------------


def _await_control(paths: TrialPaths, attempt: int) -> Control | None:
    """The control file of this attempt; None when there is nothing to do.

    A directory that is not there yet, or a control file of an earlier attempt, may be a filesystem that lags.
    """
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    pause = 0.05
    while True:
        control = controlfile.read(paths.control) if paths.root.is_dir() else None
        if control is not None and control.attempt == attempt:
            return control
        over = (control is None and paths.root.is_dir()) or (control is not None and control.attempt > attempt)
        if over or time.monotonic() >= deadline:
            return None
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def _earlier_records(paths: TrialPaths, run: RunKey) -> list[RunRecord]:
    """What earlier runs of this attempt wrote (Slurm restarted the job), oldest first."""
    records: list[RunRecord] = []
    for restart in range(run.restart):
        key = RunKey(run.trial_id, run.attempt, restart)
        records += RunTail(paths.run(key.attempt, key.restart), key).read()
    return records


def _restore_point(paths: TrialPaths, control: Control, earlier: list[RunRecord]) -> Path | None:
    """The newest checkpoint that an earlier run of this attempt named, else the one that the driver names."""
    for record in reversed(earlier):
        if isinstance(record, ResultRow) and record.checkpoint and paths.checkpoint(record.checkpoint).is_dir():
            return paths.checkpoint(record.checkpoint)
    return Path(control.restore) if control.restore is not None else None


# -- the run -------------------------------------------------------------------------------------------------------


def _run(session: Session, experiment: ExperimentPaths, file: RunFile) -> None:
    """Run the user's code, and write how it ended."""
    outcome, reason, error = Outcome.COMPLETED, "the trainable returned", None
    try:
        if session.restored is not None and not session.restored.is_dir():
            raise StorageError(f"The checkpoint to start from is gone: {session.restored}.")
        trainable = bundle.load_trainable(experiment)
        run_trainable(trainable, session)
        if session.ending is not None:
            raise session.ending
    except EndOfRun as end:
        if end.outcome is None:
            print(f"hpctune: leaving: {end.reason}.", flush=True)
            file.close()
            return
        outcome, reason = end.outcome, end.reason
    except KeyboardInterrupt as interrupt:
        file.exit(Outcome.INTERRUPTED, "interrupted at the keyboard", time.time(), None)
        raise interrupt
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            outcome, reason = Outcome.FAILED, f"sys.exit({leaving.code!r})"
            error = _error_info(leaving)
    except BaseException as failure:
        outcome, reason, error = Outcome.FAILED, "the trainable raised", _error_info(failure)
    _leave(session, file, outcome, reason, error)


def _leave(session: Session, file: RunFile, outcome: Outcome, reason: str, error: ErrorInfo | None) -> None:
    if error is not None:
        print(error.traceback, file=sys.stderr, flush=True)
    try:
        last = session.last_checkpoint() if outcome is not Outcome.FAILED else None
    except TuneError as failure:
        print(f"hpctune: {failure}", file=sys.stderr, flush=True)
        last = None
    name, iteration = last if last is not None else (None, 0)
    file.exit(outcome, reason, time.time(), error, name, iteration)


def _error_info(error: BaseException) -> ErrorInfo:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return ErrorInfo(type(error).__name__, str(error), text)


# -- the process ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _inside(session: Session, paths: TrialPaths) -> Iterator[None]:
    """The process as user code finds it: session, working directory, report channel, signals; all put back after."""
    before = Path.cwd()
    environment: dict[str, str | None] = {}
    channel = Channel(session, other_nodes=int(os.environ.get("SLURM_JOB_NUM_NODES") or 1) > 1)
    for name, value in {**channel.environment, "TUNE_ORIG_WORKING_DIR": str(before)}.items():
        environment[name] = os.environ.get(name)
        os.environ[name] = value
    set_current(session)
    try:
        if _flag("HPCTUNE_CHDIR_TO_TRIAL_DIR", "RAY_CHDIR_TO_TRIAL_DIR"):
            os.chdir(paths.root)
        with _signals(session):
            yield
    finally:
        set_current(None)
        session.close()
        channel.close()
        os.chdir(before)
        for name, old in environment.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _flag(*names: str) -> bool:
    return all(os.environ.get(name, "1").lower() not in ("0", "false") for name in names)


@contextlib.contextmanager
def _signals(session: Session) -> Iterator[None]:
    """SIGTERM and SIGUSR2 (time limit, preemption): leave at the next report; the second SIGTERM: leave now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if session.interrupted and number == signal.SIGTERM:
            session.end(Outcome.INTERRUPTED, f"{name} received twice")
        session.interrupted = name

    previous: dict[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
