"""The script's ``__main__``, rebuilt in a process that runs the script's functions.

There it is the module that pickle, multiprocessing, typing and inspect look for: a class of the script is
``__main__.Net``, as where the script was started. The script itself is not executed: what its names stood for when the
experiment was made has travelled by value.
"""

from __future__ import annotations

import builtins
import importlib
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from hpctune.common import urls
from hpctune.errors import TrainableError

SPAWNED = "hpctune.worker.spawned"
"""What a process that multiprocessing has spawned runs in the place of the script."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a ``__main__`` is. ``file``: None for a notebook, a REPL. ``name``: the module's if it was started by
    ``python -m``. ``argv``: the command line as the script has it."""

    file: str | None
    package: str | None
    name: str | None
    doc: str | None
    argv: list[str]

    @classmethod
    def running(cls) -> Script:
        """The script of this process."""
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        return cls(
            script_file(),
            getattr(main, "__package__", None),
            spec.name if spec is not None else None,
            main.__doc__,
            list(map(urls.without_places, sys.argv)),
        )

    def to_json(self) -> dict[str, Any]:
        """As :class:`Script` takes it."""
        return asdict(self)


def script_file() -> str | None:
    """The absolute path of the ``__main__`` of this process; None if it has no file."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if file is None else str(Path(file).absolute())


def begin_main(file: str, arguments: Sequence[str]) -> ModuleType:
    """Make an empty ``__main__`` for the script ``file``, an absolute path, as if Python were started with it and
    ``arguments``. Its code is executed in the module that is returned."""
    module = ModuleType("__main__")
    module.__dict__.update(__file__=file, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = module
    sys.argv = [file, *arguments]
    directory = str(Path(file).parent)
    if directory not in sys.path[:1]:
        sys.path.insert(0, directory)
    return module


class ScriptModule(ModuleType):
    """A ``__main__`` whose names have travelled. ``fill``: called when the first name is asked for that is missing."""

    __slots__ = ("fill", "later", "script")

    def __init__(self, script: Script) -> None:
        super().__init__("__main__", script.doc)
        self.script = script
        self.fill: Callable[[], object] | None = None
        self.later: dict[str, tuple[str, str]] = {}
        """What is imported when somebody asks for it: by name the module, and what of it ("": itself)."""
        names = vars(self)
        names["__builtins__"], names["__package__"] = builtins, script.package
        names["__spec__"] = ModuleSpec(script.name, None, origin=script.file) if script.name else None
        if script.file is not None:
            names["__file__"], names["__cached__"] = script.file, None

    def __getattr__(self, name: str) -> Any:
        fill, self.fill = self.fill, None
        if fill is not None and not name.startswith("__"):
            fill()
            if name in vars(self):
                return vars(self)[name]
        if name in self.later:
            vars(self)[name] = value = imported(*self.later[name])
            return value
        raise AttributeError(f"module '__main__' ({self.script.file or 'no file'}) has no attribute {name!r} here")


def imported(module: str, attribute: str) -> Any:
    """What ``import module`` gives, or ``from module import attribute``; that may be of a class."""
    value: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        value = getattr(value, part)
    return value


_ours: ModuleType | None = None
"""The ``__main__`` of this process, if the user's script may take its place."""
_target: ModuleType | None = None
"""What functions of the script that are being loaded have as their globals."""
_spawn_knows = False


def offer() -> None:
    """Say that the ``__main__`` of this process is a program of ours: the user's script may take its place."""
    global _ours
    _ours = sys.modules["__main__"]


def offered() -> bool:
    """Whether the user's script may be the ``__main__`` of this process, or is by now."""
    return _ours is not None and sys.modules.get("__main__") is _ours


def installed(script: Script) -> ScriptModule | None:
    """The ``__main__`` of this process, if it was made for ``script``."""
    main = sys.modules.get("__main__")
    return main if isinstance(main, ScriptModule) and main.script == script else None


def install(script: Script, fill: Callable[[], object]) -> None:
    """Make ``script`` the ``__main__`` of this process, which must have been offered."""
    global _ours
    module = ScriptModule(script)
    module.fill = fill
    _ours = sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    sys.argv = list(script.argv)
    _tell_multiprocessing()


def _tell_multiprocessing() -> None:
    """Let spawned processes make this ``__main__`` again, in the place of executing a file that may have changed."""
    global _spawn_knows
    if _spawn_knows:
        return
    _spawn_knows = True
    from multiprocessing import spawn

    spawn.get_preparation_data = partial(_preparation_data, spawn.get_preparation_data)


def _preparation_data(original: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any]:
    data = original(name)
    data.pop("init_main_from_path", None)
    return {**data, "init_main_from_name": SPAWNED}


@contextmanager
def loading_into(module: ModuleType) -> Iterator[None]:
    """While this lasts, functions of the script that are unpickled belong to ``module``."""
    global _target
    before, _target = _target, module
    try:
        yield
    finally:
        _target = before


def script_globals() -> dict[str, Any]:
    """The globals of functions that are being loaded. Pickles name this function."""
    if _target is None:
        raise TrainableError("A function of a script can only be loaded with the experiment that it belongs to.")
    return vars(_target)


def script_object(file: str, name: str, by_value: bytes) -> Any:
    """The script's ``name`` if that script is the ``__main__`` of this process, else what ``by_value`` holds.
    Pickles name this function."""
    if script_file() == file:
        found = getattr(sys.modules["__main__"], name, None)
        if found is not None:
            return found
    import pickle

    return pickle.loads(by_value)


def remember_lines(sources: Mapping[str, str]) -> None:
    """Let tracebacks, debuggers and inspect show these texts, whatever is in the files by now."""
    for file, text in sources.items():
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def known_lines(files: Sequence[str]) -> dict[str, str]:
    """The texts of those of ``files`` that are known in this process."""
    found = {file: "".join(linecache.getlines(file)) for file in files}
    return {file: text for file, text in found.items() if text}
