"""The user's code and large objects, pickled beside the experiment's definition.

``trainable.pkl`` is for workers, ``driver.pkl`` for drivers, ``objects/`` for what ``with_parameters`` was given: one
file each, written once, read by each worker when it is first used (numpy arrays are mapped into memory).
"""

from __future__ import annotations

import os
import pickle
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hpctune.errors import StorageError, TrainableError
from hpctune.storage import atomic
from hpctune.storage.layout import ExperimentPaths

BY_VALUE_MODULES: set[str] = set()
"""Names of modules (the user's config file) whose functions and classes are pickled by value."""

_writing: ContextVar[ObjectStore | None] = ContextVar("hpctune_objects_written", default=None)
_objects: Path | None = None
"""Where this process reads stored objects from."""


class ObjectStore:
    """Writes the values of Parameters while a bundle is pickled: each once, however often it is referred to."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._names = directory, dict[int, str]()
        self._kept: list[Any] = []

    def put(self, value: Any) -> str:
        """Write ``value`` and return its file's name."""
        if id(value) in self._names:
            return self._names[id(value)]
        self._directory.mkdir(mode=0o700, exist_ok=True)
        numpy = sys.modules.get("numpy")
        array = numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject
        name = f"{len(self._names):03d}.{'npy' if array else 'pkl'}"
        path = self._directory / name
        if array and numpy is not None:
            temporary = path.with_name(f".{name}.tmp.npy")
            numpy.save(temporary, value, allow_pickle=False)
            temporary.chmod(0o600)
            temporary.replace(path)
        else:
            import cloudpickle

            atomic.write(path, cloudpickle.dumps(value))
        self._names[id(value)] = name
        self._kept.append(value)
        return name


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
        _check_trusted(path)
        if path.suffix == ".npy":
            import numpy

            return numpy.load(path, mmap_mode="r", allow_pickle=False)
        return pickle.loads(path.read_bytes())


def save(paths: ExperimentPaths, trainable: Any, driver_objects: Any) -> None:
    """Write the bundle. Raises TrainableError, naming the culprit, when something cannot be pickled."""
    place = {"sys_path": [p for p in sys.path if p], "cwd": str(Path.cwd())}
    with _bundling(paths):
        code = _dumps({**place, "trainable": trainable}, "The trainable")
        driver = _dumps({**place, "driver": driver_objects}, "The search space, a callback or another option")
    atomic.write(paths.trainable, code)
    atomic.write(paths.driver_bundle, driver)


def load_trainable(paths: ExperimentPaths) -> Any:
    """The trainable. The modules it was pickled by reference are looked for where the driver's were."""
    return _load(paths, paths.trainable)["trainable"]


def load_driver_objects(paths: ExperimentPaths) -> Any:
    """What a resumed driver needs."""
    return _load(paths, paths.driver_bundle)["driver"]


def original_cwd(paths: ExperimentPaths) -> str:
    """The directory in which the experiment was started."""
    return str(_load(paths, paths.trainable)["cwd"])


def _load(paths: ExperimentPaths, path: Path) -> dict[str, Any]:
    global _objects
    _check_trusted(path)
    _objects = paths.objects
    data = path.read_bytes()
    header, _, body = data.partition(b"\n")
    for entry in reversed(header.decode().split("\0")):
        if entry and entry not in sys.path:
            sys.path.append(entry)
    try:
        loaded: dict[str, Any] = pickle.loads(body)
    except (ImportError, AttributeError) as error:
        raise TrainableError(
            f"{path} cannot be loaded: {error}. A module that your code imports is missing here, or has changed: is "
            f"the Python environment of the driver visible on this node ({sys.executable})?"
        ) from error
    return loaded


def _dumps(value: dict[str, Any], what: str) -> bytes:
    """Pickle, with the import path before it: it is needed before anything can be unpickled."""
    import cloudpickle

    try:
        body: bytes = cloudpickle.dumps(value)
    except Exception as error:
        culprit = _culprit(value)
        raise TrainableError(
            f"{what} cannot be pickled, so no job can get it: {type(error).__name__}: {error}."
            + (f" The culprit is {culprit}." if culprit else "")
            + " Make it inside the function, or pass it with hpctune.with_parameters."
        ) from error
    return "\0".join(value["sys_path"]).encode() + b"\n" + body


def _culprit(value: Any, depth: int = 4) -> str:
    """The innermost named thing that cannot be pickled: a variable of a closure, a global, an attribute."""
    for name, inner in _parts(value):
        if not picklable(inner):
            deeper = _culprit(inner, depth - 1) if depth else ""
            return deeper or f"{name} = {repr(inner)[:80]}"
    return ""


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    code = getattr(value, "__code__", None)
    if code is not None:
        for name, cell in zip(code.co_freevars, value.__closure__ or (), strict=False):
            yield name, cell.cell_contents
        for name in code.co_names:
            if name in value.__globals__:
                yield name, value.__globals__[name]
    elif isinstance(value, dict):
        yield from ((str(k), v) for k, v in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"item {i}", v) for i, v in enumerate(value))
    else:
        name = getattr(value, "__name__", type(value).__name__)
        slots = [s for c in type(value).__mro__ for s in getattr(c, "__slots__", ())]
        members = {**getattr(value, "__dict__", {}), **{s: getattr(value, s, None) for s in slots}}
        yield from ((f"{name}.{k}", v) for k, v in members.items() if not k.startswith("__"))


def picklable(value: Any) -> bool:
    """Whether ``value`` can be pickled, by value where needed."""
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True


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


def _check_trusted(path: Path) -> None:
    """Refuse to unpickle what somebody else may have written."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise StorageError(f"{path} is missing: the experiment cannot run without it.") from error
    if status.st_uid not in (os.geteuid(), 0):
        raise StorageError(f"{path} belongs to user {status.st_uid}, not to you: loading it would run their code.")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StorageError(
            f"{path} can be written by others (mode {stat.filemode(status.st_mode)}): loading it could run their code. "
            f"If you trust it: chmod go-w {path}"
        )
