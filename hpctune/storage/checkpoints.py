"""Checkpoints of a trial: published by rename, named after the run that made them, and renamed before removal."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hpctune.errors import CheckpointError
from hpctune.model.ids import RunKey
from hpctune.storage import permissions, tree_copy
from hpctune.storage.atomic import sync_directory
from hpctune.storage.layout import TrialPaths, checkpoint_name
from hpctune.storage.ownership import CHECKPOINT, DOOMED_PREFIX, PROGRESS_FILE, STAGING_PREFIX


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that is complete: its name, and what it holds. ``bytes``: the sizes of its files, also of those that
    it shares with another checkpoint. ``notes``: by kind, what the user should know."""

    name: str
    files: int
    bytes: int
    notes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a trial at a checkpoint. Times are in seconds."""

    iteration: int = 0
    time_total_s: float = 0.0
    timesteps_total: int | None = None
    episodes_total: int | None = None


def directory_of(path: Path) -> Path:
    """The directory of the checkpoint to which ``path`` belongs: ``path`` itself, or what is around it."""
    around = (each for each in path.parents if (each / PROGRESS_FILE).is_file())
    return path if (path / PROGRESS_FILE).is_file() else next(around, path)


def read_progress(checkpoint: Path) -> Progress:
    """The progress saved with a checkpoint; all zero for one that was not made by a trial."""
    try:
        return Progress(**json.loads((checkpoint / PROGRESS_FILE).read_bytes()))
    except FileNotFoundError:
        return Progress()
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint / PROGRESS_FILE} cannot be read: {error}.") from error


def write_progress(checkpoint: Path, progress: Progress) -> None:
    """Save the progress in the directory of a new checkpoint. Raises OSError.

    The file is replaced, not overwritten: user code may have linked it from another checkpoint.
    """
    part = checkpoint / f"{PROGRESS_FILE}.{os.getpid()}.tmp"
    part.write_text(json.dumps(asdict(progress)))
    part.replace(checkpoint / PROGRESS_FILE)


def staging(paths: TrialPaths) -> Path:
    """Create a hidden directory in the trial's directory. The caller fills it and passes it to :func:`persist`."""
    directory = paths.root / f"{STAGING_PREFIX}{os.urandom(6).hex()}"
    try:
        permissions.make_directory(directory)
    except OSError as error:
        raise CheckpointError(f"Cannot create a checkpoint in {paths.root}: {error.strerror or error}.") from error
    return directory


def discard(directory: Path) -> None:
    """Remove a directory that was not persisted."""
    shutil.rmtree(directory, ignore_errors=True)


def persist(
    source: Path,
    paths: TrialPaths,
    run: RunKey,
    progress: Progress,
    *,
    keep: bool = False,
    previous: Path | None = None,
) -> Saved:
    """Make ``source`` the run's checkpoint at ``progress.iteration``.

    A staging directory is moved; any other directory is copied, and shares large unchanged files with ``previous``, the
    trial's checkpoint before. Raises CheckpointError (disk full, source missing). Then no part of the checkpoint is
    visible. A staging directory is removed as well, unless ``keep`` is set for another try.
    """
    name = checkpoint_name(run, progress.iteration)
    target = paths.checkpoint(name)
    moved = source.parent == paths.root and source.name.startswith(STAGING_PREFIX)
    temporary = source
    try:
        if moved:
            copied = tree_copy.normalize(source)
        else:
            temporary = staging(paths)
            copied = tree_copy.copy_tree(source, temporary, base=previous, without=frozenset({PROGRESS_FILE}))
        write_progress(temporary, progress)
        if permissions.shared(paths.root):
            permissions.share_tree(temporary)
        try:
            _sync_tree(temporary)
        except OSError:
            keep = False  # the filesystem may have dropped data: a second try would only seem to work
            raise
        if target.exists():  # this run has saved the same iteration before: the later checkpoint counts
            delete(target)
        temporary.rename(target)
        sync_directory(paths.root)
    except BaseException as error:
        if temporary is not source or (moved and not keep):
            discard(temporary)
        if isinstance(error, OSError):
            raise CheckpointError(f"Cannot save a checkpoint as {target}: {_why(error)}.") from error
        raise
    return Saved(name, copied.files, copied.bytes, copied.notes)


def _why(error: OSError) -> str:
    words = error.strerror or str(error)
    return f"{words} ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else words


def delete(checkpoint: Path) -> None:
    """Remove a checkpoint. No part of it stays visible meanwhile. A missing one is not an error."""
    doomed = checkpoint.with_name(f"{DOOMED_PREFIX}{os.urandom(6).hex()}")
    try:
        checkpoint.rename(doomed)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(f"Cannot delete {checkpoint}: {error.strerror or error}.") from error
    shutil.rmtree(doomed, ignore_errors=True)


def tidy(paths: TrialPaths, names: Iterable[str]) -> None:
    """Remove partial checkpoints of killed runs and drivers, among ``names`` in the trial's directory."""
    for name in names:
        if name.startswith((STAGING_PREFIX, DOOMED_PREFIX)):
            shutil.rmtree(paths.at(name), ignore_errors=True)


def unreported(paths: TrialPaths, names: Iterable[str], known: Container[str]) -> Iterator[Path]:
    """The checkpoints among ``names`` in the trial's directory that are not ``known``.

    Their runs were killed before they reported the result of the checkpoint. Directories that user code has created
    itself are not included.
    """
    for name in names:
        path = paths.checkpoint(name)
        if name not in known and CHECKPOINT.fullmatch(name) and (path / PROGRESS_FILE).exists():
            yield path


def bytes_in(checkpoint: Path) -> int:
    """The sizes of a checkpoint's files, as :func:`persist` counted them. Raises OSError."""
    names = (Path(parent, name) for parent, _, inside in os.walk(checkpoint) for name in inside)
    own = checkpoint / PROGRESS_FILE
    return sum(path.lstat().st_size for path in names if path != own and path.is_file() and not path.is_symlink())


def _sync_tree(directory: Path) -> None:
    for parent, _, names in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():
                fd = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        sync_directory(Path(parent))
