"""One rank, from its connection to its last word."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from hpctune.common import forks
from hpctune.common.log import log
from hpctune.errors import StorageError, TuneError
from hpctune.model.records import Control
from hpctune.storage import bundle, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker import client
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.error_info import error_info
from hpctune.worker.ranks.link import Link
from hpctune.worker.ranks.session import RankSession, set_current_rank
from hpctune.worker.ranks.trainable import DistributedTrainable
from hpctune.worker.ranks.world import World
from hpctune.worker.storage_retry import retry_storage


def run_rank(experiment_dir: str, dirname: str, attempt: int) -> int:
    """Run this rank to its end. Returns the exit code: 0 unless the head could not be told of a failure."""
    try:
        link = Link.connect(os.environ)
    except TuneError as error:
        log.error(f"hpctune: error: {error}")
        return 1
    _handle_signals(link)
    try:
        link.running = True
        left = _run(link, ExperimentPaths(experiment_dir), dirname, attempt)
        link.running = False
    except EndOfRun:
        return 0
    except SystemExit as end:
        link.running = False
        if end.code not in (None, 0):
            return _fail(link, end)
        left = None
    except BaseException as error:
        link.running = False
        return _fail(link, error)
    link.send({"done": True, "staged": left})
    link.over.wait()  # a rank that fails now is found by the others, not by what they miss
    return 0


def _fail(link: Link, error: BaseException) -> int:
    """Tell the head, and wait for its word: what other ranks say of our disappearance must come after ours."""
    info = error_info(error)
    log.error(f"hpctune: rank {link.hello.rank}: {info.traceback}")
    link.send({"failed": [info.kind, info.message, info.traceback]})
    link.over.wait()
    return 0


def _handle_signals(link: Link) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        link.interrupted(number)

    for number in (signal.SIGTERM, signal.SIGUSR2):
        forks.set_handler(number, handle)
    forks.set_handler(signal.SIGINT, signal.SIG_IGN)  # the head gets it, too
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGUSR2))


def _run(link: Link, experiment: ExperimentPaths, dirname: str, attempt: int) -> str | None:
    """Run the user's function. Returns the checkpoint directory that was filled after the last report."""
    from hpctune.worker.runners import form_of, run_function

    world = World.from_json(link.answer()["world"])
    paths = experiment.trial(dirname)
    trainable = _trainable(experiment)
    control = _control(link, paths.control, attempt)
    restored = os.environ.get(client.CHECKPOINT_VARIABLE)
    session = RankSession(
        control, paths, Path(restored) if restored else None, world, link, trainable.together
    )  # fmt: skip
    if world.rank != 0:  # what its children report does not count either
        for name in (client.SOCKET_VARIABLE, client.SPOOL_VARIABLE):
            os.environ.pop(name, None)
    os.environ.update(world.variables())
    set_current_rank(session)
    trainable.backend.start(world, trainable.timeout_s)
    run_function(trainable.function, form_of(trainable.function), session)
    trainable.backend.stop()
    return session.left_over()


def _trainable(experiment: ExperimentPaths) -> DistributedTrainable:
    found: Any = retry_storage(lambda: bundle.load_trainable(experiment))
    if not isinstance(found, DistributedTrainable):
        raise StorageError(f"{experiment.trainable} has changed: it holds {found!r} now.")
    return found


def _control(link: Link, path: Any, attempt: int) -> Control:
    """The control record of this attempt. If another attempt has replaced it, the head ends this rank."""
    control = retry_storage(lambda: control_file.read(path))
    if control is None or control.attempt != attempt:
        link.over.wait()
        raise EndOfRun(None, "another attempt has replaced this one")
    return control
