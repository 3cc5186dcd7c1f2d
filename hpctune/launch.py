"""Making an experiment and opening one again: for ``run``, ``run_experiments``, ``Tuner`` and the CLI alike."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import stat
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpctune import envvars
from hpctune.driver.clock import WallClock
from hpctune.driver.setup import DriverSetup, safe_name
from hpctune.errors import ResumeError, StorageError, UsageError
from hpctune.model.spec import ExperimentSpec
from hpctune.notice import tell
from hpctune.output.reporters import ProgressReporter
from hpctune.overrides import current
from hpctune.preview import check_request
from hpctune.storage import access, bundle, specfile
from hpctune.storage.layout import ExperimentPaths
from hpctune.where import ClusterChoice, stored

DEFAULT_VERBOSE = 2


@dataclass(slots=True, kw_only=True)
class Launch:
    """An experiment that is ready to be made, or to go on.

    ``named``: the user chose the name, so it must not be changed. ``verbose``: 0 to 3. ``max_pending``: how many jobs
    may wait in the queue.
    """

    spec: ExperimentSpec
    setup: DriverSetup
    trainable: Any
    cluster: ClusterChoice
    named: bool = False
    verbose: int = DEFAULT_VERBOSE
    reporter: ProgressReporter | None = None
    max_pending: int | None = None


def new_experiment_id() -> str:
    """An id that no other experiment has."""
    return secrets.token_hex(6)


def automatic_name(trainable: str, at: float) -> str:
    """``<trainable>_<date>_<time>``, or the trainable's name alone where TUNE_DISABLE_DATED_SUBDIR says so."""
    name = safe_name(trainable)
    if not envvars.settings().dated_names:
        return name
    return f"{name}_{datetime.fromtimestamp(at):%Y-%m-%d_%H-%M-%S}"


def exists(paths: ExperimentPaths) -> bool:
    """Whether there is an experiment."""
    return paths.spec.is_file()


def create(root: Path, launch: Launch) -> ExperimentPaths:
    """Make a new experiment in the directory ``root``: checked first, then written, whole or not at all.

    An automatic name that is taken gets a number. Raises UsageError where a user's own name is taken,
    RequestRejectedError where no trial could ever run, StorageError where nothing can be written.
    """
    draft = ExperimentPaths(root / launch.spec.name)
    if launch.named:
        _refuse_existing(draft)
    check(launch, draft)
    new_root = not root.exists()
    paths = _directory(root, launch)
    try:
        if launch.spec.share_with_group:
            _share(paths.root, new_root)
        bundle.save(paths, launch.trainable, launch.setup)
        specfile.write(paths, launch.spec)
    except OSError as error:
        discard(paths)
        raise StorageError(f"Cannot write in {paths.root}: {error.strerror or error}.") from error
    except BaseException:
        discard(paths)
        raise
    return paths


def check(launch: Launch, paths: ExperimentPaths) -> None:
    """Raise what :func:`hpctune.preview.check_request` does; nothing is written to ``paths``, where it would be."""
    with tempfile.TemporaryDirectory(prefix="hpctune-check-") as scratch:
        cluster = launch.cluster.build(Path(scratch), launch.spec.experiment_id, WallClock())
        try:
            check_request(launch.spec, launch.setup, paths, cluster)
        finally:
            if launch.cluster.made is None:
                cluster.close()


def discard(paths: ExperimentPaths) -> None:
    """Take back what :func:`create` made, and the directory where nothing else is in it."""
    with contextlib.suppress(OSError):
        for path in (paths.spec, Path(paths.trainable), paths.driver_bundle):
            path.unlink(missing_ok=True)
        for directory in (paths.objects, paths.drivers):
            shutil.rmtree(directory, ignore_errors=True)
        paths.root.rmdir()


def _share(directory: Path, new_root: bool) -> None:
    """Let the group read the experiment, and pass through the directory of experiments where that was made for it."""
    access.share(directory)
    if new_root:
        access.share(directory.parent)
    elif not directory.parent.stat().st_mode & stat.S_IXGRP:
        tell(f"The group cannot get to {directory} yet: chmod g+x {directory.parent}")


def _refuse_existing(paths: ExperimentPaths) -> None:
    if exists(paths):
        raise UsageError(
            f"{paths.root} holds an experiment already. Go on with it: resume=True (or 'AUTO'), or in a shell: "
            f"hpctune resume {paths.root}. For a new one choose another name."
        )


def _directory(root: Path, launch: Launch) -> ExperimentPaths:
    """The experiment's directory; one that exists and holds no experiment will do for a user's own name."""
    name = launch.spec.name
    for number in range(2, 1000):
        paths = ExperimentPaths(root / launch.spec.name)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths.root.mkdir(mode=0o700)
        except FileExistsError:
            if launch.named:
                _refuse_existing(paths)
                return paths
            launch.spec = replace(launch.spec, name=f"{name}_{number}")
        except OSError as error:
            raise StorageError(
                f"Cannot make {paths.root}: {error.strerror or error}. Choose another place with storage_path= or "
                "TUNE_RESULT_DIR."
            ) from error
        else:
            return paths
    raise StorageError(f"{root} holds too many experiments called {name}. Give this one a name=.")


def open_existing(paths: ExperimentPaths, launch: Launch | None = None, cluster: ClusterChoice | None = None) -> Launch:
    """The experiment in ``paths``, ready to go on. ``launch``: what a script says now.

    With it, code (trainable, search space, policies, callbacks) is the script's, and so are stop criteria, budgets,
    limits and cluster; identity, seed and metric stay what they were. Without it, everything is as stored, but
    for a ``cluster`` that is given. Raises NotAnExperimentError where there is none.
    """
    spec = specfile.read(paths)
    if launch is None:
        return _stored(paths, spec, cluster)
    for name in ("metric", "mode"):
        before, after = getattr(spec, name), getattr(launch.spec, name)
        if before and after and before != after:
            raise ResumeError(f"{paths.root} was started with {name}={before!r}. It cannot be resumed with {after!r}.")
    differing = [name for name in _TOLD if getattr(launch.spec, name) != getattr(spec, name)]
    if differing:
        words = ", ".join(f"{name} ({getattr(spec, name)!r})" for name in differing)
        tell(f"{paths.root} goes on with what it was started with, and not with what the script says now: {words}.")
    return replace(launch, spec=replace(launch.spec, **{name: getattr(spec, name) for name in _KEPT}))


_KEPT = (
    "experiment_id",
    "name",
    "created_at",
    "trainable",
    "metric",
    "mode",
    "seed",
    "restore",
    "stdout",
    "stderr",
    "share_with_group",
)
"""What of a definition a resume cannot change."""
_TOLD = ("trainable", "restore", "stdout", "stderr", "share_with_group")


def _stored(paths: ExperimentPaths, spec: ExperimentSpec, cluster: ClusterChoice | None) -> Launch:
    setup = bundle.load_driver_objects(paths)
    trainable = bundle.load_trainable(paths)
    choice = cluster or stored(spec.cluster, spec.cluster_options, current())
    limit = envvars.settings().max_pending
    return Launch(spec=spec, setup=setup, trainable=trainable, cluster=choice, named=True, max_pending=limit)
