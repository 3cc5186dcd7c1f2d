"""Pickling what a script defines: by value, for its ``__main__`` in another process, with the files and lines of its
code.

cloudpickle pickles functions and classes of ``__main__`` by value, and gives each pickle a dict of its own for their
globals. Here these are the script's: one dict, that of its module. cloudpickle's way with code objects loses their file
(since 3.1.2 it is written as "<dynamic-code>"); here they travel as marshal has them.
"""

from __future__ import annotations

import functools
import io
import marshal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

from hpctune.usercode import main_module

MAX_BYTES = 16 << 20
"""Of what travels without being known to be needed."""
_CACHED = type(functools.lru_cache(len))


@dataclass(frozen=True, slots=True)
class Pickled:
    """``modules``: those that it refers to; ``files``: those that its code is from."""

    body: bytes
    modules: frozenset[str]
    files: frozenset[str]


class _ScriptGlobals:
    """Stands for the globals of the script in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return main_module.script_globals, ()


_SCRIPT_GLOBALS = _ScriptGlobals()


class _Buffer(io.BytesIO):
    """A stream that accepts at most a given number of bytes."""

    most = sys.maxsize

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > self.most:  # a large array comes as a PickleBuffer, without len()
            raise ValueError("this is too large")
        return super().write(data)


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, with the files and lines of code."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, CodeType):
            return self._reduced_code(obj)
        if type(obj) is _CACHED and getattr(obj, "__module__", None) == "__main__":
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        if isinstance(obj, (FunctionType, type)):
            self.modules.add(str(obj.__module__))
        return super().reducer_override(obj)

    def _reduced_code(self, code: CodeType) -> Any:
        self.files.add(code.co_filename)
        try:
            return marshal.loads, (marshal.dumps(code),)
        except ValueError:  # other code has added constants to it
            return NotImplemented


def _cached(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Any:
    """A function with ``functools.lru_cache``; its results do not travel."""
    return functools.lru_cache(**parameters)(function)


class ScriptPickler(CodePickler):
    """For what is loaded into the script's ``__main__``. ``with_globals``: a function brings the values of the globals
    that it uses; else it finds there what there is."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.with_globals = True
        self._globals = vars(sys.modules["__main__"])

    def reducer_override(self, obj: Any) -> Any:
        reduced = super().reducer_override(obj)
        if not isinstance(obj, FunctionType) or obj.__globals__ is not self._globals or reduced is NotImplemented:
            return reduced
        make, (code, _, *more), (attributes, slots), *rest = reduced
        if not self.with_globals:
            slots = {**slots, "__globals__": {}}
        return make, (code, _SCRIPT_GLOBALS, *more), (attributes, slots), *rest


def dump_script(value: Any, definitions: Mapping[str, Any]) -> Pickled:
    """``value``, then those of ``definitions`` that can be pickled: two pickles with one memo, for one Unpickler."""
    try:
        return _dumped(value, definitions)
    except _DefinitionsError:
        good = {name: each for name, each in definitions.items() if _travels(each)}
    try:
        return _dumped(value, good)
    except _DefinitionsError:
        return _dumped(value, {})


class _DefinitionsError(Exception):
    pass


def _dumped(value: Any, definitions: Mapping[str, Any]) -> Pickled:
    buffer = _Buffer()
    pickler = ScriptPickler(buffer)
    pickler.dump(value)
    pickler.with_globals, buffer.most = False, buffer.tell() + MAX_BYTES
    try:
        pickler.dump(dict(definitions))
    except Exception as error:
        raise _DefinitionsError from error
    return Pickled(buffer.getvalue(), frozenset(pickler.modules), frozenset(pickler.files))


def _travels(value: Any) -> bool:
    buffer = _Buffer()
    buffer.most = MAX_BYTES
    pickler = ScriptPickler(buffer)
    pickler.with_globals = False
    try:
        pickler.dump(value)
    except Exception:
        return False
    return True


class ValuePickler(CodePickler):
    """For values read in many processes: classes and functions of the script are taken from ``__main__`` if the
    script is ``__main__``, and rebuilt elsewhere."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._names, self._file = vars(sys.modules["__main__"]), main_module.script_file()

    def reducer_override(self, obj: Any) -> Any:
        if self._file is not None and isinstance(obj, (type, FunctionType)) and obj.__module__ == "__main__":
            name = obj.__name__
            if self._names.get(name) is obj:
                buffer = io.BytesIO()
                CodePickler(buffer).dump(obj)
                return main_module.script_object, (self._file, name, buffer.getvalue())
        return super().reducer_override(obj)


def dump_value(value: Any) -> bytes:
    """``value`` by itself."""
    buffer = io.BytesIO()
    ValuePickler(buffer).dump(value)
    return buffer.getvalue()
