"""The bundle: the user's code and large objects, pickled beside the experiment's definition.

``trainable.pkl`` is for workers, ``driver.pkl`` for drivers. ``objects/`` is in :mod:`hpctune.storage.objects`.
``code/`` holds the sources of the script and of the modules beside it; :mod:`hpctune.usercode` makes the script
``__main__``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from hpctune import ray
from hpctune.common import unpickling
from hpctune.errors import StorageError, TrainableError
from hpctune.storage import atomic, objects, permissions
from hpctune.storage.kept_project import KeptProject
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.objects import open_stored
from hpctune.storage.unloadable import find_unloadable
from hpctune.storage.unpicklable import find_unpicklable
from hpctune.usercode import main_module
from hpctune.usercode.main_module import Script, ScriptModule

if TYPE_CHECKING:
    from hpctune.usercode.pickling import Pickled

VARIABLE = "HPCTUNE_CODE_OF"
"""The environment's word for the experiment whose script is ``__main__`` here: processes that are spawned read it."""
_MAX_TRIED = 10_000_000
"""Bytes of a trainable that is loaded to see whether that is possible. What is larger holds data."""
_PYTHON = "{}.{}".format(*sys.version_info)

_preloaded: tuple[tuple[int, ...], Any, dict[str, Any]] | None = None
"""The trainable that this process keeps: the identity of its file, the trainable, and the header of the file."""
_inherited = ""
"""The directory of the experiment whose kept trainable is used even if its file has changed since."""
_saved: WeakValueDictionary[tuple[int, ...], Any] = WeakValueDictionary()
"""The objects that this process has pickled, by the identity of their file."""
_here = False
"""Trials are to have what this process has, and no copy of it."""


def save(paths: ExperimentPaths, trainable: Any, driver_objects: Any, project: KeptProject | None = None) -> None:
    """Write the bundle. ``project``: that of the user's program, if jobs get a copy of it.

    Raises TrainableError, which names what cannot be pickled, or not be loaded then.
    """
    from hpctune.usercode.namespace import namespace

    here = _working_directory()  # first: what follows needs it
    entries, script = _import_path(), Script.running()
    names = namespace(sys.modules["__main__"])
    with objects.written_to(paths.objects):
        code = _dumps(trainable, "The trainable", names.definitions)
        driver = _dumps(driver_objects, "The search space, a callback or another option", {})
    place = {
        "sys_path": entries,
        "cwd": here,
        "python": _PYTHON,
        "script": script.to_json(),
        "ray": ray.installed(),
        "imports": {name: [*where, name in names.used] for name, where in names.imports.items()},
        "sources": _save_sources(paths, {*code.files, *driver.files}, script.file, {here} & {*entries}),
    }
    if getattr(trainable, "follows_journal", False):
        place["follows_journal"] = True
    if project is not None:
        place["project"] = project.to_json()
    header = json.dumps(place).encode() + b"\n"
    atomic.write(paths.trainable, header + code.body, mode=permissions.PRIVATE_FILE)
    atomic.write(paths.driver_bundle, header + driver.body, mode=permissions.PRIVATE_FILE)
    tried = not _here and len(code.body) <= _MAX_TRIED
    if tried and (found := find_unloadable(partial(_load, paths, paths.trainable), trainable, paths.text)):
        why, part = found
        raise TrainableError(
            f"The trainable can be pickled, but not loaded in a job: {why}."
            + (f" The part that cannot be loaded is {part}." if part else "")
            + " Create it inside the function, or put its class into a module."
        )
    with contextlib.suppress(TypeError):  # it cannot be referred to weakly
        _saved[_identity(paths.trainable)] = trainable


def _working_directory() -> str:
    """Where this process is. Raises StorageError if that has been removed."""
    try:
        return str(Path.cwd())
    except FileNotFoundError as error:
        raise StorageError(
            "The working directory is gone: somebody has removed it while this process was in it. Go to one that is "
            "there, and start again: cd ~"
        ) from error


def _save_sources(
    paths: ExperimentPaths, files: set[str], script: str | None, directories: set[str]
) -> Mapping[str, Any]:
    """Keep the sources of ``files``, of the ``script``, and of the modules beside it or below ``directories``.

    Returns where they are.
    """
    from hpctune.usercode.sources import collect

    own = [script] if script is not None else []
    roots = [*(str(Path(file).parent) for file in own), *directories]
    sources = collect({*files, *own}, roots, _library())
    name, archive = sources.archive()
    paths.code.mkdir(mode=permissions.PRIVATE_DIRECTORY, exist_ok=True)
    if not permissions.exists(paths.code / name):
        atomic.write(paths.code / name, archive, mode=permissions.PRIVATE_FILE)
    return {"archive": name, **sources.to_json()}


@contextmanager
def trials_are_here() -> Iterator[None]:
    """While this lasts, a trainable that this process has saved is loaded as it is, and not as a copy."""
    global _here
    _here = True
    try:
        yield
    finally:
        _here = False


def load_trainable(paths: ExperimentPaths) -> Any:
    """The trainable. The modules it was pickled by reference are looked for where the driver's were."""
    if _here and (live := _saved.get(_identity(paths.trainable))) is not None:
        return live
    if _preloaded is not None and preloaded(paths):
        return _preloaded[1]
    return _load(paths, paths.trainable)


def preload(paths: ExperimentPaths) -> None:
    """Load the trainable, and keep it for :func:`load_trainable` in this process and its forked children."""
    global _preloaded
    identity = _identity(paths.trainable)
    _preloaded = (identity, _load(paths, paths.trainable), _header(paths))


def preloaded(paths: ExperimentPaths) -> bool:
    """Whether :func:`preload` has loaded the trainable that is stored now."""
    if _preloaded is None:
        return False
    return paths.text == _inherited or _preloaded[0] == _identity(paths.trainable)


def inherit(paths: ExperimentPaths) -> None:
    """For a child that was forked for one trial: use the trainable of the parent, which has just checked it."""
    global _inherited
    _inherited = paths.text


def _identity(path: str) -> tuple[int, ...]:
    """A value that changes when ``path`` is replaced by another file."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def load_driver_objects(paths: ExperimentPaths) -> Any:
    """The objects that a resumed driver needs."""
    return _load(paths, paths.driver_bundle)


def prepare_imports(paths: ExperimentPaths) -> None:
    """Let modules be found here where the driver found them, in its order: the user's directories before all else.
    Where the ``__main__`` of this process is a program of ours, the user's script takes its place."""
    _prepare(paths, _header(paths))


def _prepare(paths: ExperimentPaths, place: Mapping[str, Any]) -> None:
    entries = place["sys_path"]
    if sys.path[: len(entries)] != entries:
        sys.path[:] = [*entries, *(entry for entry in sys.path if entry not in entries)]
    if place.get("ray"):
        ray.install()
    if "script" not in place or not main_module.offered():
        return
    script = Script(**place["script"])
    if main_module.installed(script) is None:
        _install_sources(paths, place["sources"])
        os.environ[VARIABLE] = paths.text
        main_module.install(script, fill=partial(preload, paths))


def _install_sources(paths: ExperimentPaths, places: Mapping[str, Any]) -> None:
    from hpctune.usercode.sources import StoredSources

    archive = paths.code / places["archive"]
    open_stored(archive).close()
    stored = StoredSources(str(archive), places)
    stored.remember_lines()
    stored.import_from_here()


def spawned_names() -> dict[str, Any]:
    """In a process that a trial has spawned: the names of the script's ``__main__``."""
    if VARIABLE not in os.environ:
        return {}
    main_module.offer()
    paths = ExperimentPaths(os.environ[VARIABLE])
    load_trainable(paths)
    names = vars(sys.modules["__main__"])
    return {name: names[name] for name in names if name not in ("__name__", "__builtins__")}


def original_cwd(paths: ExperimentPaths) -> str:
    """The directory in which the experiment was started. Reads one line and unpickles nothing."""
    return str(_header(paths)["cwd"])


def project(paths: ExperimentPaths) -> KeptProject | None:
    """The project of the user's program, if jobs get a copy of it. Reads one line and unpickles nothing."""
    kept = _header(paths).get("project")
    return None if kept is None else KeptProject(**kept)


def follows_journal(paths: ExperimentPaths) -> bool:
    """Whether trials read the journal while they run. Reads one line and unpickles nothing."""
    return bool(_header(paths).get("follows_journal"))


def sources(paths: ExperimentPaths) -> str | None:
    """The name of the archive in ``code/`` that has the user's sources."""
    name: str | None = _header(paths).get("sources", {}).get("archive")
    return name


def _header(paths: ExperimentPaths) -> dict[str, Any]:
    if _preloaded is not None and preloaded(paths):
        return _preloaded[2]
    with open_stored(paths.trainable) as file:
        return _place(paths.trainable, file.readline())


def _import_path() -> list[str]:
    """Where the user's own modules lie. What belongs to the interpreter is left out: the worker's may be another."""
    library = {*_library("stdlib", "platstdlib")}
    entries = [str(Path(entry).absolute()) for entry in sys.path]  # "" is the working directory
    return [entry for entry in dict.fromkeys(entries) if Path(entry).exists() and not _is_library(entry, library)]


def _library(*names: str) -> list[str]:
    """The interpreter's own directories."""
    names = names or ("stdlib", "platstdlib", "purelib", "platlib")
    return [str(Path(sysconfig.get_path(name)).absolute()) for name in names]


def _is_library(entry: str, library: set[str]) -> bool:
    inside = any(entry == place or entry.startswith(f"{place}/") for place in library)
    return inside or entry.endswith(("site-packages", "dist-packages"))


def _load(paths: ExperimentPaths, path: str | Path) -> Any:
    with open_stored(path) as file:
        place = _place(path, file.readline())
        body = file.read()
    objects.read_from(paths.objects)
    _check_python(path, place)
    _prepare(paths, place)
    try:
        if "script" not in place:
            return unpickling.loads(body)
        script = Script(**place["script"])
        return _unpickled(body, main_module.installed(script) or ScriptModule(script), place["imports"])
    except (ImportError, AttributeError) as error:
        raise TrainableError(
            f"{path} cannot be loaded: {error}. A module that your code imports is missing here, or has changed. "
            f"Check that the driver's Python environment is visible on this node ({sys.executable})."
        ) from error


def _check_python(path: str | Path, place: Mapping[str, Any]) -> None:
    """Raise TrainableError if another Python has pickled it: their compiled code differs."""
    made_by = place.get("python", _PYTHON)
    if made_by != _PYTHON:
        raise TrainableError(
            f"{path} was made by Python {made_by}, and this is {_PYTHON} ({sys.executable}). Use the same Python in "
            "the jobs: SlurmOptions(python=...) or LocalOptions(python=...)."
        )


def _unpickled(body: bytes, main: ScriptModule, imports: Mapping[str, tuple[str, str, bool]]) -> Any:
    """The value; what the script defines and imports beside it becomes names of ``main``."""
    main.fill = None  # this is it
    unpickler = unpickling.Unpickler(io.BytesIO(body))
    with main_module.loading_into(main):
        value = unpickler.load()
        with contextlib.suppress(EOFError):  # there is nothing else in it
            vars(main).update(_definitions(unpickler))
    for name, (module, attribute, used) in imports.items():
        if name in vars(main):
            continue
        main.later[name] = module, attribute
        if used:
            with contextlib.suppress(Exception):  # whoever needs it imports it again, and hears why that fails
                getattr(main, name)
    return value


def _definitions(unpickler: unpickling.Unpickler) -> dict[str, Any]:
    """What travels without being known to be needed; nothing if a module is missing here."""
    try:
        found: dict[str, Any] = unpickler.load()
    except (ImportError, AttributeError):
        return {}
    return found


def _place(path: str | Path, header: bytes) -> dict[str, Any]:
    try:
        place: dict[str, Any] = json.loads(header)
    except ValueError as error:
        raise StorageError(f"{path} is damaged, or another version of hpctune has written it.") from error
    return place


def _dumps(value: Any, what: str, definitions: Mapping[str, Any]) -> Pickled:
    from hpctune.usercode.pickling import dump_script

    try:
        return dump_script(value, definitions)
    except StorageError:
        raise
    except Exception as error:
        found = find_unpicklable(value)
        raise TrainableError(
            f"{what} cannot be pickled, so it cannot be sent to a job: {type(error).__name__}: {error}."
            + (f" The part that cannot be pickled is {found}." if found else "")
            + " Create it inside the function, or pass it with hpctune.with_parameters."
        ) from error
