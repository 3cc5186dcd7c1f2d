"""Running one attempt of one trial, from its claim to its exit record."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.common.log import log
from hpctune.common.processes import exit_now, forget_exit_functions
from hpctune.errors import StorageError, TuneError
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, ErrorInfo, Exit, Outcome, RunRecord
from hpctune.storage import bundle, checkpoints, control_file, free_space, permissions
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.storage.run_file import RunFile, RunTail, checkpoints_before
from hpctune.worker import scratch, transferred
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.environment import trial_environment
from hpctune.worker.error_info import error_info
from hpctune.worker.job import job_began, job_id_here, of_parts, restart_count
from hpctune.worker.runners import run_trainable
from hpctune.worker.session import Session
from hpctune.worker.storage_retry import LAST_WORD_S, is_transient, pauses, retry_limit_s, retry_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import StrPath

VISIBLE_WITHIN_S = 60.0
"""Seconds to wait until the shared directory shows what the driver wrote before it submitted the job."""


def run_attempt(experiment_dir: StrPath, dirname: str, attempt: int, *, rings: bool = True) -> int:
    """Run the attempt to its end. Returns 0 if the run left an exit record or had nothing to do. ``rings``: notify the
    driver at the end; False if the caller notifies it after the process has exited.

    Exceptions of user code do not leave this function, except those that end the whole program (Ctrl-C, the debugger).
    """
    experiment = ExperimentPaths(experiment_dir if os.path.isabs(experiment_dir) else Path(experiment_dir).absolute())
    paths = experiment.trial(dirname)
    import_path = list(sys.path)
    try:
        control = retry_storage(lambda: await_control(experiment, paths, attempt))
        if control is None and not permissions.exists(experiment.root):
            log.error(f"hpctune: error: {missing_directory(experiment.root)}")
            return 1
        if control is None:
            _say(f"nothing to do: {dirname} attempt {attempt} is over or superseded.")
            return 0
        with transferred.confirming() as confirmed:
            claimed = retry_storage(lambda: _claim(paths, control, restart_count(), confirmed))
        if claimed is None:
            _say(f"nothing to do: {dirname} attempt {attempt} has been run already, or revoked.")
            return 0
        _run_claimed(experiment, paths, control, *claimed, rings)
    finally:
        sys.path[:] = import_path
    return 0


def missing_directory(root: Path) -> str:
    """What to do if the experiment's directory does not exist where the job runs."""
    inside = any(os.environ.get(name) for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "container"))
    bind = f"bind it into the container (apptainer exec --bind {root} ...)"
    other = (
        f"mount it there, leave the node out with --exclude, or choose another --storage-path; in a container {bind}; "
        "where nodes have no directory in common with the driver's host: SlurmOptions(file_transfer=...), see "
        "docs/how-to/file-transfer.md"
    )
    return f"The experiment's directory {root} is not there on {socket.gethostname()}: {bind if inside else other}."


def _run_claimed(
    experiment: ExperimentPaths, paths: TrialPaths, control: Control, file: RunFile, restored: Path | None, rings: bool
) -> None:
    scratch.sweep_once()
    if file.run.attempt > 1 or file.run.restart > 0:
        with contextlib.suppress(OSError):
            checkpoints.tidy(paths, paths.names())
    if restored is not None:
        _await_checkpoint(restored)
    try:
        session = Session(control, file.run, paths, file, restored, job_id_here(), _nodes())
    except Exception as error:
        info = error_info(error)
        log.error(f"hpctune: {info.traceback}")
        file.exit(Outcome.FAILED, "the run could not begin", time.time(), info)
        return
    with trial_environment(session, experiment, paths):
        _run(session, experiment, file)
        if rings:
            session.ringer.ring()


def _nodes() -> str:
    return ",".join(filter(None, of_parts("SLURM_JOB_NODELIST")))


# -- before the claim ----------------------------------------------------------------------------------------------


def await_control(experiment: ExperimentPaths, paths: TrialPaths, attempt: int) -> Control | None:
    """The control file of this attempt; None if there is nothing to do.

    A missing directory or trainable, or a control file of an earlier attempt, may be a delay of the shared filesystem,
    so this function waits for it.
    """
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    pause = 0.05
    while True:
        control = _control(experiment, paths)
        late = time.monotonic() >= deadline
        if control is not None and control.attempt == attempt and (late or permissions.exists(experiment.trainable)):
            return control
        over = (control is None and permissions.exists(paths.text)) or (
            control is not None and control.attempt > attempt
        )
        if over or late:
            return None
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def _control(experiment: ExperimentPaths, paths: TrialPaths) -> Control | None:
    if not permissions.exists(paths.text):
        return None
    with contextlib.suppress(StorageError):  # loading the trainable reports this error
        bundle.prepare_imports(experiment)  # the configuration may contain instances of the user's classes
    return control_file.read(paths.control)


def _claim(
    paths: TrialPaths, control: Control, restarts: int, confirmed: Callable[[StrPath], bool]
) -> tuple[RunFile, Path | None] | None:
    """Claim the first free run of the attempt, up to number ``restarts``, and choose the checkpoint to start from.

    Slurm also counts restarts in which the worker did not reach its claim. Run numbers have no such gaps: the driver
    looks for (or revokes) only the next number, so it cannot miss a run. None if the attempt is over or superseded.
    """
    for restart in range(restarts + 1):
        run = RunKey(control.trial_id, control.attempt, restart)
        earlier = _earlier_records(paths, run)
        if any(isinstance(record, Exit) for record in earlier):
            return None
        # Chosen before the claim, because the driver reads only what was written before the claim.
        name = next((n for n in checkpoints_before(run, earlier) if paths.checkpoint(n).is_dir()), None)
        claim = Claim(run, job_id_here(), socket.gethostname(), os.getpid(), time.time(), _nodes(), name, job_began())
        file = RunFile.claim(paths.run(run.attempt, restart), claim)
        if file is not None and not confirmed(file.path):
            file.close()
            file = None
        if file is not None:
            given = Path(control.restore) if control.restore is not None else None
            return file, paths.checkpoint(name) if name else given
    return None


def _await_checkpoint(checkpoint: Path) -> None:
    """Wait a limited time until this node sees a checkpoint that another node wrote."""
    deadline = time.monotonic() + VISIBLE_WITHIN_S
    while not checkpoint.is_dir() and time.monotonic() < deadline:
        time.sleep(0.5)


def _earlier_records(paths: TrialPaths, run: RunKey) -> list[RunRecord]:
    """Records of earlier runs of this attempt (Slurm restarted the job), oldest first."""
    records: list[RunRecord] = []
    for restart in range(run.restart):
        key = RunKey(run.trial_id, run.attempt, restart)
        records += RunTail(paths.run(key.attempt, key.restart), key).read()
    return records


# -- the run -------------------------------------------------------------------------------------------------------


def _run(session: Session, experiment: ExperimentPaths, file: RunFile) -> None:
    """Run the user's code and write its outcome. Raises only what ends the whole program (Ctrl-C, the debugger)."""
    outcome, reason, error = Outcome.COMPLETED, "the trainable returned", None
    leaving: BaseException | None = None
    try:
        if session.restored is not None and not session.restored.is_dir():
            raise StorageError(f"The checkpoint to start from does not exist any more: {session.restored}.")
        try:
            run_trainable(retry_storage(lambda: bundle.load_trainable(experiment)), session)
        except Exception as failure:
            _blame_the_storage(failure, session)
            raise
        finally:
            session.leaving = True
            _end_as_a_child(session)
    except EndOfRun:
        pass  # the session holds the outcome
    except KeyboardInterrupt as interrupt:
        outcome, reason, leaving = Outcome.INTERRUPTED, "interrupted at the keyboard", interrupt
    except SystemExit as end:
        if end.code not in (None, 0):
            outcome, reason, error = Outcome.FAILED, f"sys.exit({end.code!r})", error_info(end)
    except BaseException as failure:
        outcome, reason, error = Outcome.FAILED, "the trainable raised", error_info(failure)
        if isinstance(failure, StorageError) and is_transient(failure):
            outcome, reason = Outcome.INTERRUPTED, f"the storage is not writable: {failure}"
        elif session.interrupted:  # the same signal may have ended a process that the trainable needs
            outcome, reason = Outcome.INTERRUPTED, f"{session.interrupted} received, then the trainable raised"
        if type(failure).__name__ == "BdbQuit":
            outcome, reason, error, leaving = Outcome.INTERRUPTED, "the debugger was left", None, failure
    decided = session.ending
    if decided is not None and decided.error is not None:
        outcome, reason, error = Outcome.FAILED, decided.reason, error_info(decided.error)
        decided = None
    if error is not None:
        log.error(f"hpctune: {error.traceback}")
    if decided is not None and decided.outcome is None:
        _say(f"leaving: {decided.reason}.")
        file.close()
    elif decided is not None:  # an error while the run was ending does not change its outcome
        _leave(session, file, decided.outcome or Outcome.COMPLETED, decided.reason, None)
    else:
        _leave(session, file, outcome, reason, error)
    if leaving is not None:
        raise leaving


def _blame_the_storage(failure: Exception, session: Session) -> None:
    """Attribute the error to the storage if the trial's directory has no room. User code may then raise any exception.
    Wait for room, and end the run so that it continues from its last checkpoint."""
    if os.getpid() != session.pid or not (trouble := free_space.trouble_writing(session.paths.root)):
        return
    what = f"{type(failure).__name__} while the storage had no room ({trouble})"
    log.warning(f"hpctune: {error_info(failure).traceback}hpctune: waiting for room, nothing is lost: {trouble}")
    deadline = time.monotonic() + retry_limit_s()
    waiting = pauses(deadline)
    while not session.interrupted and time.monotonic() < deadline and free_space.trouble_writing(session.paths.root):
        next(waiting)
    if session.ending is None:
        session.end(Outcome.INTERRUPTED, what)


def _leave(session: Session, file: RunFile, outcome: Outcome, reason: str, error: ErrorInfo | None) -> None:
    try:
        last = session.last_checkpoint() if outcome is not Outcome.FAILED else None
    except TuneError as failure:
        log.error(f"hpctune: {failure}")
        last = None
    saved = last if last is not None else (None, 0, None)
    at = time.time()
    try:
        retry_storage(
            lambda: file.exit(outcome, reason, at, error, *saved),
            within_s=min(LAST_WORD_S, retry_limit_s()),
            give_up=file.is_gone,
        )
    except OSError:
        if not file.is_gone():
            raise
        file.close()


def _end_as_a_child(session: Session) -> None:
    """End a process that user code forked and that returned here: it must not write records of the run."""
    if os.getpid() == session.pid:
        return
    error, code = sys.exc_info()[1], 0
    if isinstance(error, SystemExit):
        code = _exit_code(error)
    elif error is not None and not isinstance(error, EndOfRun):
        traceback.print_exc()
        code = 1
    forget_exit_functions()
    exit_now(code)


def _exit_code(end: SystemExit) -> int:
    """The exit code that Python would use; a value that is not a number is printed."""
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    log.error(str(end.code))
    return 1


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # user code may have closed it
        print(f"hpctune: {text}", flush=True)
