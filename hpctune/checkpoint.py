"""``Checkpoint``: a directory with everything that a trial needs to go on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from hpctune.common import processes, unpickling, urls
from hpctune.common.log import log
from hpctune.errors import CheckpointError, NotAnExperimentError, StorageError
from hpctune.mirror.options import as_text, is_elsewhere, is_of_this_machine
from hpctune.storage import atomic, tree_copy, values

METADATA_FILE = ".metadata.json"
DICT_FILE = "dict_checkpoint.pkl"
SAVED_FILE = "checkpoint_dict.pkl"
"""File with the dict that a class's ``save_checkpoint`` returned, or the name of the path that it returned."""


_to_remove: set[str] = set()
"""Directories of checkpoints from values. Each is removed together with its object, or at the end of this process."""


def _remove(directory: str) -> None:
    if directory in _to_remove:
        _to_remove.discard(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _remove_all() -> None:
    for directory in list(_to_remove):
        _remove(directory)


os.register_at_fork(after_in_child=_to_remove.clear)
processes.clean_up_by(_remove_all)


class Checkpoint:
    """A checkpoint in the directory ``path``. The constructor copies nothing; ``report(..., checkpoint=...)`` does.

    ``path`` may also be a URL, or a path on ``filesystem`` (of fsspec or pyarrow). Such a checkpoint, and one of the
    copy of an experiment, is brought here when something of it is asked for.
    """

    def __init__(self, path: str | Path, filesystem: Any = None) -> None:
        place = as_text(path)
        self._elsewhere: tuple[str, Any] | None = None
        """The URL, or the path on a filesystem, of one that has not been brought yet."""
        self._uri: str | None = None
        if is_elsewhere(place) or not (filesystem is None or is_of_this_machine(filesystem)):
            self._elsewhere, self._uri = (place, filesystem), urls.public(place) if is_elsewhere(place) else None
            self._path = urls.public(place)
        else:
            self._path = str(Path(place.removeprefix("file://")).expanduser().absolute())
        self.filesystem = filesystem
        self._same_as: Checkpoint | None = None
        """Another object of the same checkpoint, whose directory must not be removed before this one's."""

    @property
    def path(self) -> str:
        """The directory. Raises CheckpointError if it is elsewhere and cannot be brought."""
        try:
            if self._elsewhere is not None:
                self._bring(*self._elsewhere)
            elif not Path(self._path).exists():
                from hpctune.mirror.fetch import bring_checkpoint

                bring_checkpoint(Path(self._path))
        except (StorageError, NotAnExperimentError) as error:
            raise CheckpointError(f"The checkpoint cannot be brought: {error}") from error
        return self._path

    def _bring(self, place: str, filesystem: Any) -> None:
        """Bring the files of a directory elsewhere to a temporary one."""
        from hpctune.mirror.fetch import fetch_tree

        directory = self._temporary(tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        fetch_tree(place, Path(directory), filesystem)
        self._path, self._elsewhere = directory, None

    def _temporary(self, directory: str) -> str:
        """Let a directory be removed together with this object."""
        _to_remove.add(directory)
        weakref.finalize(self, _remove, directory)
        return directory

    def __reduce__(self) -> tuple[Any, ...]:
        _to_remove.discard(self.path)  # copies of the object use the directory now
        return type(self), (self.path,)

    @classmethod
    def from_directory(cls, path: str | Path, filesystem: Any = None) -> Checkpoint:
        """The checkpoint in a directory. Raises CheckpointError if the directory does not exist."""
        made = cls(path, filesystem)
        if made._elsewhere is None and not Path(made.path).is_dir():
            raise CheckpointError(f"There is no checkpoint directory {path}.")
        return made

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint with ``data``, pickled, in a temporary directory that is removed together with the object."""
        checkpoint = cls._in_new_directory()
        try:
            atomic.write(Path(checkpoint.path) / DICT_FILE, _dumps(dict(data)))
        except StorageError as error:
            raise CheckpointError(str(error)) from error
        return checkpoint

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """The checkpoint of :meth:`to_bytes`, in a temporary directory that is removed together with the object."""
        import tarfile

        checkpoint = cls._in_new_directory()
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                # "data" where Python has filters: all but 3.11.0 to 3.11.3
                archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                archive.extractall(checkpoint.path)
        except (tarfile.TarError, OSError) as error:
            raise CheckpointError(f"These bytes are not those of Checkpoint.to_bytes(): {error}.") from error
        return checkpoint

    @classmethod
    def from_checkpoint(cls, other: Checkpoint) -> Checkpoint:
        """The same checkpoint as an object of this class."""
        made = cls(other.path)
        made._same_as = other
        made._uri = other._uri
        return made

    @classmethod
    def from_uri(cls, uri: str) -> Checkpoint:
        """The checkpoint at a URL, or in a directory. Raises CheckpointError if a directory does not exist."""
        return cls.from_directory(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)

    @classmethod
    def _in_new_directory(cls) -> Checkpoint:
        """In a new temporary directory, which is removed together with the object."""
        checkpoint = cls(tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        checkpoint._temporary(checkpoint._path)
        return checkpoint

    def to_dict(self) -> dict[str, Any]:
        """The data that :meth:`from_dict` got, or the dict that ``save_checkpoint`` of a class returned.

        Raises CheckpointError for a checkpoint that was made in another way.
        """
        path = Path(self.path) / DICT_FILE
        if path.is_file():
            data: dict[str, Any] | None = unpickling.loads(values.trusted_bytes(path))
        else:
            data = self._saved().get("data")
        if data is None:
            raise CheckpointError(f"{self.path} was not made from a dict; read its files with as_directory().")
        return data

    def to_bytes(self) -> bytes:
        """All files of the checkpoint in one value, for :meth:`from_bytes`."""
        import tarfile

        content = io.BytesIO()
        with self.as_directory() as directory, tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(directory, arcname=".")
        return content.getvalue()

    def _saved(self) -> dict[str, Any]:
        """What ``save_checkpoint`` of a class returned: "data" or "path"; {} if it returned nothing, or is none."""
        note = Path(self.path) / SAVED_FILE
        saved: dict[str, Any] = unpickling.loads(values.trusted_bytes(note)) if note.is_file() else {}
        return saved

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """The directory, for reading only. Raises CheckpointError if it does not exist."""
        if not Path(self.path).is_dir():
            raise CheckpointError(f"The checkpoint {self.path} does not exist any more. It may have been deleted.")
        yield self.path

    def to_directory(self, path: str | Path | None = None) -> str:
        """Copy the checkpoint to ``path`` (default: a new temporary directory). Returns that path.

        The copy is independent of the checkpoint: it may be changed. Files of the same name are replaced, except those
        that hpctune writes in a trial's directory. Raises CheckpointError.
        """
        target = Path(path) if path is not None else Path(tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        with self.as_directory() as source:
            try:
                target.mkdir(parents=True, exist_ok=True)
                copied = tree_copy.copy_tree(Path(source), target)
            except OSError as error:
                raise CheckpointError(f"Cannot copy the checkpoint {source} to {target}: {error}.") from error
        for note in copied.notes.values():
            log.warning(f"hpctune: {note}")
        return str(target)

    def get_metadata(self) -> dict[str, Any]:
        """The user's metadata; {} if there is none."""
        try:
            data: dict[str, Any] = json.loads((Path(self.path) / METADATA_FILE).read_bytes())
        except FileNotFoundError:
            return {}
        return data

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the user's metadata, which must be JSON-compatible."""
        try:
            atomic.write(Path(self.path) / METADATA_FILE, json.dumps(dict(metadata)))
        except StorageError as error:
            raise CheckpointError(str(error)) from error

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add to the user's metadata, which must be JSON-compatible."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __repr__(self) -> str:
        return f"Checkpoint(path={self._path!r})"

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    # -- names of Ray Tune 1.x ----------------------------------------------------------------------------------

    @property
    def value(self) -> str:
        """The directory; the path in it that ``save_checkpoint`` of a class returned, if it returned one."""
        return str(Path(self.path) / self._saved().get("path", ""))

    dir_or_data = value

    @property
    def local_path(self) -> str:
        """The directory."""
        return self.path

    _local_path = local_path

    @property
    def cloud_path(self) -> str | None:
        """The URL that it was made of; None if it is in a directory."""
        return self._uri

    @property
    def uri(self) -> str:
        """The URL that it was made of, or the directory as ``file://...``."""
        return self._uri or Path(self.path).as_uri()

    def to_air_checkpoint(self, local_to_remote_path_fn: Any = None) -> Checkpoint:
        """The same checkpoint: there is one class of checkpoints."""
        return self

    def get_internal_representation(self) -> tuple[str, str]:
        """``("local_path", directory)``."""
        return "local_path", self.path

    def __add__(self, text: str) -> str:
        return self.path + text

    def __radd__(self, text: str) -> str:
        return text + self.path


def _dumps(value: Any) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value)
    return data
