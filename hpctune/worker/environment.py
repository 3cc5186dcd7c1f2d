"""Set-up of the process for user code: session, working directory, report channel, signals; undone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType

from hpctune.common import forks
from hpctune.errors import StorageError
from hpctune.storage import bundle
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.worker.channel import Channel
from hpctune.worker.job import of_parts
from hpctune.worker.project_copy import place_in
from hpctune.worker.session import Session, current, set_current


@contextlib.contextmanager
def trial_environment(session: Session, experiment: ExperimentPaths, paths: TrialPaths) -> Iterator[None]:
    """Set the process up for ``session``, and restore it afterwards."""
    before, outer = _here(), current()
    channel = Channel(session, other_nodes=sum(int(each or 1) for each in of_parts("SLURM_JOB_NUM_NODES")) > 1)
    additions = {**channel.environment, "TUNE_ORIG_WORKING_DIR": place_in(paths)(_original_cwd(experiment, before))}
    set_current(session)
    try:
        if _flag("HPCTUNE_CHDIR_TO_TRIAL_DIR", "RAY_CHDIR_TO_TRIAL_DIR", "TUNE_CHDIR_TO_TRIAL_DIR"):
            os.chdir(paths.text)
        with environment(additions), _signals(session):
            yield
    finally:
        set_current(outer)
        session.close()
        channel.close()
        with contextlib.suppress(OSError):
            os.chdir(before)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # the working directory was removed
        return "/"


def _original_cwd(experiment: ExperimentPaths, here: str) -> str:
    try:
        return bundle.original_cwd(experiment)
    except StorageError:  # loading the trainable reports this error
        return here


@contextlib.contextmanager
def environment(additions: Mapping[str, str]) -> Iterator[None]:
    """Add ``additions`` to the environment for the duration of the block."""
    before = {name: os.environ.get(name) for name in additions}
    os.environ.update(additions)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


def _flag(*names: str) -> bool:
    return all(os.environ.get(name, "1").lower() not in ("0", "false") for name in names)


@contextlib.contextmanager
def _signals(session: Session) -> Iterator[None]:
    """SIGTERM and SIGUSR2 (time limit, preemption) end the run at its next report; a second SIGTERM ends it now."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        session.signalled(signal.Signals(number).name)

    with forks.handling(dict.fromkeys((signal.SIGTERM, signal.SIGUSR2), handle)):
        # the trial processes of a worker have these signals blocked until here
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR2))
        yield
