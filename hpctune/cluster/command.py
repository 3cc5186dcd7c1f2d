"""The worker's command line, with the interpreter and container that the options name. Pure."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_PYTHONS = ("python", "python3")


def interpreter_first(command: Sequence[str], python: str) -> list[str]:
    """``command``; if it starts with ``python`` or this process's interpreter, that word becomes the given one."""
    return [python, *command[1:]] if _is_python(command) else list(command)


def shell_command(command: Sequence[str], python: str | None, container: str | None = None) -> str:
    """``command`` as one line of shell. ``python`` and ``container`` are shell text; all else is quoted.

    If the command starts with ``python`` or this process's interpreter, that word is replaced: by the argument
    ``python`` if it is given, else by ``python3`` in a container, else by this process's interpreter.
    """
    words = [shlex.quote(word) for word in command]
    if _is_python(command):
        words[0] = _interpreter(python, container)
    return " ".join(words if container is None else [container, *words])


def _interpreter(python: str | None, container: str | None) -> str:
    if python is not None:
        return shlex.quote(python) if Path(python).is_file() else python
    return "python3" if container is not None else shlex.quote(sys.executable)


def _is_python(command: Sequence[str]) -> bool:
    return bool(command) and (command[0] in _PYTHONS or command[0] == sys.executable)
