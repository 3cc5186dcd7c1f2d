"""Brings an experiment from its mirror to this machine, to go on with it."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hpctune.common import urls
from hpctune.common.log import log
from hpctune.errors import NotAnExperimentError, RemoteClusterError, ResumeError, StorageError, TuneError
from hpctune.launch.store import exists
from hpctune.mirror import status
from hpctune.mirror.fetch import fetch, read_manifest
from hpctune.mirror.manifest import NAME
from hpctune.mirror.occupant import occupant_soon
from hpctune.mirror.options import INCOMPLETE, MirrorOptions, as_text, is_elsewhere, is_url
from hpctune.mirror.target import Remote, bring
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths


def is_copy(named: object) -> bool:
    """Whether ``named`` is a URL of a mirror, not of an experiment's own directory."""
    place = as_text(named) if isinstance(named, (str, os.PathLike)) else None
    if not is_url(place) or is_elsewhere(place):
        return is_elsewhere(place)
    directory = Path(str(place).removeprefix("file://")).expanduser()
    return (directory / NAME).is_file() and not ExperimentPaths(directory).lease.is_file()


def has_mirror(url: str, filesystem: Any = None) -> bool:
    """Whether there is a mirror at ``url``."""
    try:
        experiment_id(url, filesystem)
    except TuneError:
        return False
    return True


def experiment_id(url: str, filesystem: Any = None) -> str:
    """The id of the experiment whose mirror is at ``url``. Raises NotAnExperimentError if there is none."""
    return read_manifest(Remote(urls.plain(url), filesystem)).experiment_id


def bring_mirror(mirror: MirrorOptions, name: str, root: Path) -> ExperimentPaths:
    """The experiment ``name`` of a mirror in the directory ``root``: see :func:`bring_here`.

    If only the user's own means can read the place, they bring it to a directory beside, from where it is taken.
    """
    url = mirror.of(name)
    if mirror.means == "auto" or exists(ExperimentPaths(root / name)) or has_mirror(url, mirror.filesystem):
        return bring_here(url, root, mirror.filesystem, must_exist=False)
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root, prefix=".from_mirror.", ignore_cleanup_errors=True) as beside:
        bring(mirror, url, Path(beside, name))
        return bring_here(str(Path(beside, name)), root)


def bring_if_lost(mirror: MirrorOptions | None, name: str, root: Path) -> None:
    """Bring the experiment ``name`` if it is not in the directory ``root``, and its mirror has it."""
    if mirror is None or exists(ExperimentPaths(root / name)):
        return
    if occupant_soon(mirror, mirror.of(name)) is not None:
        bring_mirror(mirror, name, root)


def bring_here(url: str, root: Path, filesystem: Any = None, *, must_exist: bool = True) -> ExperimentPaths:
    """The experiment of a mirror in the directory ``root``, with all its files.

    If it is there already, it stays as it is: the mirror is never ahead of it, and may be away. Raises ResumeError if
    another experiment has its name there, NotAnExperimentError if there is no mirror, StorageError.
    ``must_exist``: False if the experiment here may have no copy yet.
    """
    url = urls.plain(urls.public(url))
    paths = ExperimentPaths(root.expanduser().absolute() / urls.last_name(url))
    if paths.spec.is_file():
        _check_same(paths, url, filesystem, must_exist)
        return paths
    experiment_id(url, filesystem)
    if paths.root.exists() and any(paths.root.iterdir()) and not (paths.root / INCOMPLETE).exists():
        raise NotAnExperimentError(f"{paths.root} exists and is no experiment. Rename it, to bring {url} there.")
    paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = paths.root / INCOMPLETE
    mark.write_text(f"{url}\n")
    log.info(f"Bringing {url} to {paths.root}.")
    fetch(url, paths.root, filesystem=filesystem)
    mark.unlink()
    return paths


def complete(paths: ExperimentPaths) -> None:
    """Bring the rest of an experiment of which only a part was fetched: it cannot go on without its checkpoints.

    Raises ResumeError if the user has to do that, StorageError.
    """
    mark = paths.root / INCOMPLETE
    if not mark.is_file():
        return
    source = mark.read_text().strip()
    if not is_url(source):
        raise ResumeError(f"Not all checkpoints of {paths.root} are here. Bring them first: {source}")
    log.info(f"Bringing the other checkpoints from {source}.")
    fetch(source, paths.root)
    mark.unlink()


def _check_same(paths: ExperimentPaths, url: str, filesystem: Any, must_exist: bool) -> None:
    """Raise ResumeError if the mirror is of another experiment than ``paths``."""
    try:
        wanted = experiment_id(url, filesystem)
    except NotAnExperimentError:
        told = status.read(paths)
        if must_exist and (told is None or told.url != url):
            raise
        return  # nothing has been copied yet
    except (StorageError, RemoteClusterError) as error:
        log.warning(f"The copy cannot be read: {error} The search goes on from {paths.root}.")
        return
    if spec_file.read(paths).experiment_id != wanted:
        raise ResumeError(f"{paths.root} is another experiment than {url}. Rename it, or use another storage path.")
