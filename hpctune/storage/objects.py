"""Large objects, stored beside the pickles that refer to them: what was given to ``with_parameters``.

Each object has a file of its own in ``objects/``, which is written once. A worker reads it at its first use; numpy
arrays are mapped into memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from hpctune.common import unpickling
from hpctune.errors import StorageError
from hpctune.storage import atomic, permissions, values

_writing: ContextVar[ObjectStore | None] = ContextVar("hpctune_objects_written", default=None)
_objects: Path | None = None
"""The directory from which this process reads stored objects."""


class ObjectStore:
    """Writes the values of Parameters while a bundle is pickled. Each value is written only once."""

    def __init__(self, directory: Path) -> None:
        self.directory, self._names = directory, dict[int, str]()
        self._kept: list[Any] = []

    def put(self, value: Any) -> str:
        """Write ``value`` and return its file's name."""
        if id(value) in self._names:
            return self._names[id(value)]
        numpy = sys.modules.get("numpy")
        array = numpy is not None and type(value) in (numpy.ndarray, numpy.memmap) and not value.dtype.hasobject
        name = f"{len(self._names):03d}.{'npy' if array else 'pkl'}"
        self._names[id(value)] = name  # first: the value may hold others
        self._kept.append(value)
        try:
            self._write(self.directory / name, value, array)
        except OSError as error:
            raise StorageError(f"Cannot write {self.directory / name}: {error.strerror or error}.") from error
        return name

    def _write(self, path: Path, value: Any, array: bool) -> None:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        if not array:
            from hpctune.usercode.pickling import dump_value

            atomic.write(path, dump_value(value), mode=permissions.PRIVATE_FILE)
            return
        import numpy

        temporary = path.with_name(f".{path.name}.tmp.npy")
        numpy.save(temporary, value, allow_pickle=False)
        temporary.chmod(0o600)
        temporary.replace(path)


class Parameter:
    """A large value that is stored beside the trainable instead of inside it."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._file: str | None = value.name if isinstance(value, _Stored) else None
        """Where the value was stored last."""

    def get(self) -> Any:
        """The value. A worker reads it at the first call; arrays are read-only there."""
        if isinstance(self._value, _Stored):
            self._value = self._value.load()
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        store = _writing.get()
        if store is not None:
            name = store.put(self.get())
            self._file = str(store.directory / name)
            return Parameter, (_Stored(name),)
        return Parameter, (self._value if self._file is None else _Stored(self._file),)


class _Stored:
    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> Any:
        if _objects is None:
            raise StorageError(f"Object {self.name} can be read only in a trial.")
        path = _objects / self.name
        with open_stored(path) as file:
            if path.suffix != ".npy":
                return unpickling.load(file)
        import numpy

        return numpy.load(path, mmap_mode="r", allow_pickle=False)


@contextmanager
def written_to(directory: Path) -> Iterator[None]:
    """While this lasts, Parameters that are pickled write their values to ``directory``."""
    token = _writing.set(ObjectStore(directory))
    try:
        yield
    finally:
        _writing.reset(token)


def read_from(directory: Path) -> None:
    """Read stored objects from ``directory``, from now on in this process."""
    global _objects
    _objects = directory


def open_stored(path: str | Path) -> BinaryIO:
    """Open a file of pickles without which the experiment cannot run.

    Raises StorageError if it is missing, cannot be read, or another user may have written it.
    """
    try:
        return values.open_trusted(Path(path))
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing: the experiment cannot run without it.") from error
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
