"""Finds the part of a value that can be pickled, and cannot be loaded again: a progress bar, an error of a class whose
``__init__`` has other arguments."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from hpctune.common import unpickling
from hpctune.storage.unpicklable import find_part

_SECONDS = 20.0
_LOAD = (
    "import sys; from hpctune.storage import bundle, layout; bundle.load_trainable(layout.ExperimentPaths(sys.argv[1]))"
)


def find_unloadable(load: Callable[[], Any], value: Any, directory: str) -> tuple[str, str] | None:
    """Why ``value``, which was pickled and is returned by ``load``, cannot be loaded, and which part of it that is (""
    if that is unknown).

    A forked child tries it first, which imports nothing. What fails there may do so only because it is there already,
    such as a class that registers itself: so a new process has the last word, which loads the bundle in ``directory``.
    """
    said = _in_child(load, value)
    if said is None:
        return None
    kind, why, part = said
    try:
        again = subprocess.run(
            [sys.executable, "-c", _LOAD, directory],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (why, part) if again.returncode and kind in again.stderr else None


def _in_child(load: Callable[[], Any], value: Any) -> tuple[str, str, str] | None:
    """What a forked child says: the class of the error, the error, the part. None if it can load it, or is too slow."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the child may be too slow
        child = os.fork()
    if child == 0:
        try:
            _try(writing, load, value)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], _SECONDS)
        said = os.read(reading, 65_536) if ready else b""
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    if not said:
        return None
    kind, why, part = json.loads(said)
    return kind, why, part


def _try(writing: int, load: Callable[[], Any], value: Any) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        load()
    except Exception as error:
        part = find_part(value, _loadable, enter=_has_only_parts)
        os.write(writing, json.dumps([type(error).__name__, f"{type(error).__name__}: {error}"[:300], part]).encode())


def _has_only_parts(value: Any) -> bool:
    """Whether the fault must be in a part: a function, a list, hpctune's wrapper of a function; not an object of the
    user, whose class says how it is loaded."""
    made_here = type(value).__module__.partition(".")[0] == "hpctune"
    return made_here or isinstance(value, (FunctionType, MethodType, partial, dict, list, tuple, set, frozenset))


def _loadable(value: Any) -> bool:
    """Whether ``value`` can be loaded, if needed by value."""
    import cloudpickle

    try:
        unpickling.loads(cloudpickle.dumps(value))
    except Exception:
        return False
    return True
