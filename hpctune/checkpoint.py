"""``Checkpoint``: a directory with everything a trial needs to go on."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpctune.common import unpickling
from hpctune.errors import CheckpointError, StorageError
from hpctune.storage import atomic, values

METADATA_FILE = ".metadata.json"
DICT_FILE = "dict_checkpoint.pkl"


class Checkpoint:
    """A checkpoint in the directory ``path``. Making one copies nothing; ``report(..., checkpoint=...)`` does.

    ``filesystem`` is accepted for scripts that pass None; checkpoints lie on the shared filesystem.
    """

    def __init__(self, path: str | Path, filesystem: None = None) -> None:
        if filesystem is not None:
            raise CheckpointError("Checkpoints lie on the shared filesystem: filesystem must be None.")
        self.path = str(Path(path).expanduser().absolute())
        self.filesystem = None
        self._removal: weakref.finalize[..., Checkpoint] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._removal is not None:
            self._removal.detach()  # others have it now
        return type(self), (self.path,)

    @classmethod
    def from_directory(cls, path: str | Path) -> Checkpoint:
        """The checkpoint in a directory. Raises CheckpointError where there is none."""
        if not Path(path).is_dir():
            raise CheckpointError(f"There is no checkpoint directory {path}.")
        return cls(path)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint that holds ``data``, pickled, in a temporary directory that goes when the object does."""
        directory = Path(tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        checkpoint = cls(directory)
        checkpoint._removal = weakref.finalize(checkpoint, shutil.rmtree, str(directory), ignore_errors=True)
        try:
            atomic.write(directory / DICT_FILE, _dumps(dict(data)))
        except StorageError as error:
            raise CheckpointError(str(error)) from error
        return checkpoint

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` was given. Raises CheckpointError for a checkpoint made otherwise."""
        path = Path(self.path) / DICT_FILE
        if not path.is_file():
            raise CheckpointError(f"{self.path} was not made from a dict; read its files with as_directory().")
        data: dict[str, Any] = unpickling.loads(values.trusted_bytes(path))
        return data

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """The directory, to be read and not written. Raises CheckpointError when it is gone."""
        if not Path(self.path).is_dir():
            raise CheckpointError(f"The checkpoint {self.path} is gone: was it deleted by hand?")
        yield self.path

    def to_directory(self, path: str | Path | None = None) -> str:
        """Copy the checkpoint to ``path`` (default: a new temporary directory) and return it."""
        target = Path(path) if path is not None else Path(tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        with self.as_directory() as source:
            shutil.copytree(source, target, dirs_exist_ok=True)
        return str(target)

    def get_metadata(self) -> dict[str, Any]:
        """The user's metadata; {} when there is none."""
        try:
            data: dict[str, Any] = json.loads((Path(self.path) / METADATA_FILE).read_bytes())
        except FileNotFoundError:
            return {}
        return data

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the user's metadata (JSON-able)."""
        (Path(self.path) / METADATA_FILE).write_text(json.dumps(dict(metadata)))

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add to the user's metadata (JSON-able)."""
        self.set_metadata({**self.get_metadata(), **metadata})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Checkpoint(path={self.path!r})"

    def __fspath__(self) -> str:
        return self.path


def _dumps(value: Any) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value)
    return data
