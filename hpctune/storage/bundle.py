"""The user's code and large objects, pickled beside the experiment's definition.

``trainable.pkl`` is for workers, ``driver.pkl`` for drivers, ``objects/`` for what ``with_parameters`` was given: one
file each, written once, read by each worker when it is first used (numpy arrays are mapped into memory).
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from hpctune.common import unpickling
from hpctune.errors import StorageError, TrainableError
from hpctune.storage import atomic, permissions, values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.unpicklable import find_unpicklable

BY_VALUE_MODULES: set[str] = set()
"""Names of modules (the user's config file) whose functions and classes are pickled by value."""

_writing: ContextVar[ObjectStore | None] = ContextVar("hpctune_objects_written", default=None)
_objects: Path | None = None
"""Where this process reads stored objects from."""


_preloaded: tuple[tuple[int, ...], Any, dict[str, Any]] | None = None
"""The trainable that this process keeps: which file it is from, itself, and where the driver found its modules."""
_inherited = ""
"""The experiment (its directory) whose kept trainable counts, whatever file there is now."""


class ObjectStore:
    """Writes the values of Parameters while a bundle is pickled: each once, however often it is referred to."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._names = directory, dict[int, str]()
        self._kept: list[Any] = []

    def put(self, value: Any) -> str:
        """Write ``value`` and return its file's name."""
        if id(value) in self._names:
            return self._names[id(value)]
        numpy = sys.modules.get("numpy")
        array = numpy is not None and type(value) in (numpy.ndarray, numpy.memmap) and not value.dtype.hasobject
        name = f"{len(self._names):03d}.{'npy' if array else 'pkl'}"
        try:
            self._write(self._directory / name, value, array)
        except OSError as error:
            raise StorageError(f"Cannot write {self._directory / name}: {error.strerror or error}.") from error
        self._names[id(value)] = name
        self._kept.append(value)
        return name

    def _write(self, path: Path, value: Any, array: bool) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if not array:
            import cloudpickle

            atomic.write(path, cloudpickle.dumps(value), mode=permissions.PRIVATE_FILE)
            return
        import numpy

        temporary = path.with_name(f".{path.name}.tmp.npy")
        numpy.save(temporary, value, allow_pickle=False)
        temporary.chmod(0o600)
        temporary.replace(path)


class Parameter:
    """A large value that travels beside the trainable instead of inside it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get(self) -> Any:
        """The value; read at the first call in a worker. Arrays are read-only there."""
        if isinstance(self._value, _Stored):
            self._value = self._value.load()
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        store = _writing.get()
        value = self.get() if store is not None else self._value
        return (Parameter, (_Stored(store.put(value)) if store is not None else value,))


class _Stored:
    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> Any:
        if _objects is None:
            raise StorageError(f"Object {self.name} can only be read in a trial.")
        path = _objects / self.name
        with _open_trusted(path) as file:
            if path.suffix != ".npy":
                return unpickling.load(file)
        import numpy

        return numpy.load(path, mmap_mode="r", allow_pickle=False)


def save(paths: ExperimentPaths, trainable: Any, driver_objects: Any) -> None:
    """Write the bundle. Raises TrainableError, naming the find_unpicklable, when something cannot be pickled."""
    with _bundling(paths):
        code = _dumps(trainable, "The trainable")
        driver = _dumps(driver_objects, "The search space, a callback or another option")
    place = json.dumps({"sys_path": _import_path(), "cwd": str(Path.cwd())}).encode() + b"\n"
    atomic.write(paths.trainable, place + code, mode=permissions.PRIVATE_FILE)
    atomic.write(paths.driver_bundle, place + driver, mode=permissions.PRIVATE_FILE)


def load_trainable(paths: ExperimentPaths) -> Any:
    """The trainable. The modules it was pickled by reference are looked for where the driver's were."""
    if _preloaded is not None and preloaded(paths):
        return _preloaded[1]
    return _load(paths, paths.trainable)


def preload(paths: ExperimentPaths) -> None:
    """Load the trainable, and keep it for :func:`load_trainable` in this process and in those it forks."""
    global _preloaded
    identity = _identity(paths.trainable)
    _preloaded = (identity, _load(paths, paths.trainable), _header(paths))


def preloaded(paths: ExperimentPaths) -> bool:
    """Whether what :func:`preload` has loaded is what there is now."""
    if _preloaded is None:
        return False
    return paths.text == _inherited or _preloaded[0] == _identity(paths.trainable)


def inherit(paths: ExperimentPaths) -> None:
    """In a child that was forked for one trial: let what its parent has just found :func:`preloaded` count."""
    global _inherited
    _inherited = paths.text


def _identity(path: str) -> tuple[int, ...]:
    """Changes when another file takes the place of ``path``."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def load_driver_objects(paths: ExperimentPaths) -> Any:
    """What a resumed driver needs."""
    return _load(paths, paths.driver_bundle)


def prepare_imports(paths: ExperimentPaths) -> None:
    """Let modules be found here where the driver found them, in its order: the user's directories before all else."""
    entries = _header(paths)["sys_path"]
    if sys.path[: len(entries)] != entries:
        sys.path[:] = [*entries, *(entry for entry in sys.path if entry not in entries)]


def original_cwd(paths: ExperimentPaths) -> str:
    """The directory in which the experiment was started. Reads one line and loads nothing."""
    return str(_header(paths)["cwd"])


def _header(paths: ExperimentPaths) -> dict[str, Any]:
    if _preloaded is not None and preloaded(paths):
        return _preloaded[2]
    with _open_trusted(paths.trainable) as file:
        return _place(paths.trainable, file.readline())


def _import_path() -> list[str]:
    """Where the user's own modules lie. What belongs to the interpreter is left out: the worker's may be another."""
    library = {str(Path(sysconfig.get_path(name)).absolute()) for name in ("stdlib", "platstdlib")}
    entries = [str(Path(entry).absolute()) for entry in sys.path]  # "" is the working directory
    return [entry for entry in dict.fromkeys(entries) if Path(entry).exists() and not _is_library(entry, library)]


def _is_library(entry: str, library: set[str]) -> bool:
    inside = any(entry == place or entry.startswith(f"{place}/") for place in library)
    return inside or entry.endswith(("site-packages", "dist-packages"))


def _load(paths: ExperimentPaths, path: str | Path) -> Any:
    global _objects
    with _open_trusted(path) as file:
        _place(path, file.readline())
        body = file.read()
    _objects = paths.objects
    prepare_imports(paths)
    try:
        return unpickling.loads(body)
    except (ImportError, AttributeError) as error:
        raise TrainableError(
            f"{path} cannot be loaded: {error}. A module that your code imports is missing here, or has changed: is "
            f"the Python environment of the driver visible on this node ({sys.executable})?"
        ) from error


def _place(path: str | Path, header: bytes) -> dict[str, Any]:
    try:
        place: dict[str, Any] = json.loads(header)
    except ValueError as error:
        raise StorageError(f"{path} is damaged, or was written by another version of hpctune.") from error
    return place


def _dumps(value: Any, what: str) -> bytes:
    import cloudpickle

    try:
        body: bytes = cloudpickle.dumps(value)
    except StorageError:
        raise
    except Exception as error:
        found = find_unpicklable(value)
        raise TrainableError(
            f"{what} cannot be pickled, so no job can get it: {type(error).__name__}: {error}."
            + (f" The culprit is {found}." if found else "")
            + " Make it inside the function, or pass it with hpctune.with_parameters."
        ) from error
    return body


@contextmanager
def _bundling(paths: ExperimentPaths) -> Iterator[None]:
    """While this lasts, Parameters are written to ``objects/`` and the config file's module is pickled by value."""
    import cloudpickle

    modules = [sys.modules[name] for name in BY_VALUE_MODULES if name in sys.modules]
    token = _writing.set(ObjectStore(paths.objects))
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        _writing.reset(token)
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _open_trusted(path: str | Path) -> BinaryIO:
    """Open it; refuse to unpickle what somebody else may have written."""
    place = Path(path)
    try:
        file = place.open("rb")
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing: the experiment cannot run without it.") from error
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    status = os.fstat(file.fileno())
    if values.trusted(status):
        return file
    file.close()
    raise StorageError(values.distrust(path, status))
