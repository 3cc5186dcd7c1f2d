"""Creates, reads, replaces and discards the stored definition of an experiment."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpctune.analysis.load import follow
from hpctune.common.log import log
from hpctune.common.text import quoted
from hpctune.driver.setup import DriverSetup
from hpctune.errors import StorageError, TrainableError, TuneError
from hpctune.launch.origin import code_directory, origin_of
from hpctune.launch.prepared import PreparedExperiment
from hpctune.model.spec import ExperimentSpec
from hpctune.output.callback import NotStored
from hpctune.storage import atomic, bundle, kept_project, lease, permissions, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.locks import Lock
from hpctune.storage.reader import read_experiment
from hpctune.storage.spec_file import find_experiments
from hpctune.storage.unpicklable import picklable
from hpctune.usercode.project import Project

_CREATE_S = 60.0
"""Seconds to wait for another process that creates the same experiment."""
_MAX_NUMBER = 1000
"""The highest number that is appended to an automatic name that exists already."""


@dataclass(frozen=True, slots=True)
class StoredExperiment:
    """The stored definition of an experiment."""

    paths: ExperimentPaths
    spec: ExperimentSpec
    setup: DriverSetup
    trainable: Any


def exists(paths: ExperimentPaths) -> bool:
    """Whether an experiment exists in this directory."""
    return paths.spec.is_file()


def with_free_name(prepared: PreparedExperiment) -> PreparedExperiment:
    """``prepared``, under another name if an experiment of the user's name exists and is not over.

    Jobs of an unfinished experiment may still run, so its directory must stay where it is. One that is over is set
    aside when the new one is created.
    """
    paths = prepared.paths
    if not prepared.named or not exists(paths) or is_over(paths):
        return prepared
    name = prepared.spec.name
    root = paths.root.parent
    free = next(
        n for n in (f"{name}_{number}" for number in range(2, _MAX_NUMBER)) if not exists(ExperimentPaths(root / n))
    )
    log.warning(
        f"{paths.root} holds an experiment that is not finished, so this new one is {root / free}. To go on with the "
        f"older one instead: resume='AUTO' (--resume AUTO), or hpctune resume {quoted(paths.root)}"
    )
    return replace(prepared, paths=ExperimentPaths(root / free), spec=replace(prepared.spec, name=free))


_launcher = os.environ.pop("HPCTUNE_LAUNCH_DIR", None)
"""Where whoever started this process over ssh wants to know the experiments. Not for the processes that it starts."""


def tell_launcher(paths: ExperimentPaths) -> None:
    """Note that this process drives the experiment, or hands it over, if somebody wants to know."""
    if _launcher is not None:
        with contextlib.suppress(OSError), Path(_launcher, "experiments").open("a") as file:
            file.write(f"{paths.root}\n")


def newest(root: Path, trainable: str) -> str | None:
    """The name of the experiment in ``root`` with this trainable that was made last; None if there is none."""
    made: list[tuple[float, str]] = []
    for path in find_experiments(root, depth=1):
        with contextlib.suppress(TuneError):
            spec = spec_file.read(ExperimentPaths(path))
            if spec.trainable == trainable:
                made.append((spec.created_at, path.name))
    return max(made)[1] if made else None


def is_over(paths: ExperimentPaths) -> bool:
    """Whether the experiment is finished and no driver holds it."""
    try:
        holder = lease.read(paths)
        return read_experiment(paths.root, peek=False).state.ended is not None and (holder is None or holder.released)
    except (TuneError, OSError):
        return False


def _set_aside(paths: ExperimentPaths) -> None:
    """Keep a finished experiment under its name and date, so that a new one can have its name."""
    made = datetime.fromtimestamp(spec_file.read(paths).created_at)
    dated = paths.root.with_name(f"{paths.root.name}_{made:%Y-%m-%d_%H-%M-%S}")
    numbered = (dated.with_name(f"{dated.name}_{number}") for number in range(2, _MAX_NUMBER))
    aside = next(path for path in (dated, *numbered) if not path.exists())
    try:
        paths.root.rename(aside)
    except FileNotFoundError:  # another process has done it
        return
    except OSError as error:
        raise StorageError(f"Cannot rename {paths.root} to {aside}: {error.strerror or error}.") from error
    follow(paths, aside)
    log.info(f"{paths.root} held a finished experiment, which is now {aside}.")


def create(prepared: PreparedExperiment) -> PreparedExperiment:
    """Store a new experiment, completely or not at all. Returns it with its final name.

    An automatic name that exists already gets a number. A finished experiment with the user's name is set aside.
    Raises StorageError if the directory cannot be written.
    """
    root = prepared.paths.root.parent
    new_root = not root.exists()
    while True:  # another process may make one of this name meanwhile
        prepared = with_free_name(prepared)
        if prepared.named and exists(prepared.paths):
            _set_aside(prepared.paths)
        prepared = _make_directory(root, prepared)
        with _alone(prepared.paths):
            if not exists(prepared.paths):
                origin, changes = origin_of(prepared.setup, code_directory())
                prepared = replace(prepared, spec=replace(prepared.spec, origin=origin))
                _write(prepared, new_root, changes)
                return prepared


def _write(prepared: PreparedExperiment, new_root: bool, changes: str) -> None:
    """Write the files. ``changes``: those that git has not committed."""
    paths = prepared.paths
    try:
        if prepared.spec.share_with_group:
            _share(paths.root, new_root)
        _save_objects(paths, prepared)
        if changes:
            atomic.write(paths.uncommitted, changes, mode=permissions.PRIVATE_FILE)
        spec_file.write(paths, prepared.spec)
    except OSError as error:
        discard(paths)
        raise StorageError(f"Cannot write in {paths.root}: {error.strerror or error}.") from error
    except BaseException:
        discard(paths)
        raise


@contextlib.contextmanager
def _alone(paths: ExperimentPaths) -> Iterator[None]:
    """Hold the right to create this experiment: of several processes with the same name one creates it, and none
    removes the files of another."""
    path = paths.root / ".create.lock"
    try:
        lock = Lock(path, _CREATE_S)
    except OSError as error:
        raise StorageError(f"Cannot lock {path}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            paths.root.rmdir()  # if nothing was created


def load(paths: ExperimentPaths) -> StoredExperiment:
    """The stored experiment. Raises NotAnExperimentError if there is none, StorageError if it cannot be read."""
    return StoredExperiment(
        paths, spec_file.read(paths), bundle.load_driver_objects(paths), bundle.load_trainable(paths)
    )


def replace_stored(prepared: PreparedExperiment, start: Callable[[], None], leave: Callable[[str], None]) -> None:
    """Call ``start``, which takes the lease, and store the script's present definition.

    Later attempts use it, and so does a later resume without the script. It is pickled before ``start``, because
    callbacks may not be picklable after their set-up. It is published after ``start``, because another driver may be
    running until then. ``leave`` releases the lease if it cannot be published.
    """
    paths = prepared.paths
    staging = ExperimentPaths(paths.root / f".renewed-{os.getpid()}")
    try:
        staging.root.mkdir(mode=0o700, exist_ok=True)
        _save_objects(staging, prepared)
        start()
        try:
            _publish(staging, paths)
            spec_file.write(paths, prepared.spec)
        except BaseException as error:
            with contextlib.suppress(Exception):
                leave(f"its definition cannot be stored: {error!r}")
            raise
    except OSError as error:
        raise StorageError(f"Cannot write in {paths.root}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)


def discard(paths: ExperimentPaths) -> None:
    """Remove the files that :func:`create` made, and the directory if it is empty then."""
    with contextlib.suppress(OSError):
        for path in (paths.spec, Path(paths.trainable), paths.driver_bundle, paths.uncommitted):
            path.unlink(missing_ok=True)
        for directory in (paths.objects, paths.code, paths.drivers):
            shutil.rmtree(directory, ignore_errors=True)
        paths.root.rmdir()


def _save_objects(paths: ExperimentPaths, prepared: PreparedExperiment) -> None:
    """Write the trainable, and what a resumed driver needs. A callback that cannot be pickled works in this process, so
    only a driver without the script has to do without it."""
    setup, project = prepared.setup, prepared.project
    if isinstance(project, Project):
        project = kept_project.keep(project, paths)
    try:
        bundle.save(paths, prepared.trainable, setup, project)
    except TrainableError:
        lost = {id(c): type(c).__name__ for c in setup.callbacks if not picklable(c)}
        if not lost:
            raise
        kept = [NotStored(lost[id(c)]) if id(c) in lost else c for c in setup.callbacks]
        bundle.save(paths, prepared.trainable, replace(setup, callbacks=kept), project)
        log.warning(
            f"hpctune resume will not call {', '.join(lost.values())}: a callback that cannot be pickled works only in "
            "the process that made it. To resume with it, run the script again."
        )


def _publish(staging: ExperimentPaths, paths: ExperimentPaths) -> None:
    for new, old in ((staging.objects, paths.objects), (staging.code, paths.code)):
        if new.is_dir():
            old.mkdir(mode=0o700, exist_ok=True)
            for path in new.iterdir():
                path.replace(old / path.name)
    Path(staging.trainable).replace(paths.trainable)
    staging.driver_bundle.replace(paths.driver_bundle)


def _share(directory: Path, new_root: bool) -> None:
    """Let the group read the experiment, and access the parent directory if that is new."""
    permissions.share(directory)
    if new_root:
        permissions.share(directory.parent)
    elif not directory.parent.stat().st_mode & stat.S_IXGRP:
        log.warning(f"The group cannot access {directory} yet. Run: chmod g+x {quoted(directory.parent)}")


def _make_directory(root: Path, prepared: PreparedExperiment) -> PreparedExperiment:
    """Create the experiment's directory. With a user's name, an existing one without an experiment is used."""
    name = prepared.spec.name
    for number in range(2, _MAX_NUMBER):
        directory = prepared.paths.root
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700)
        except FileExistsError:
            if prepared.named:
                return prepared
            other = f"{name}_{number}"
            prepared = replace(prepared, paths=ExperimentPaths(root / other), spec=replace(prepared.spec, name=other))
        except OSError as error:
            raise StorageError(
                f"Cannot create {directory}: {error.strerror or error}. Choose another directory with storage_path= "
                "or TUNE_RESULT_DIR."
            ) from error
        else:
            return prepared
    raise StorageError(f"{root} contains too many experiments called {name}. Give this one a name=.")
