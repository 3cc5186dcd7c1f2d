"""The worker's command as the options want it run. Pure."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_PYTHONS = ("python", "python3")


def interpreter_first(command: Sequence[str], python: str) -> list[str]:
    """``command``, but where it starts with ``python`` or this process's interpreter, then the given one."""
    return [python, *command[1:]] if _is_python(command) else list(command)


def shell_command(command: Sequence[str], python: str | None, container: str | None = None) -> str:
    """``command`` as one line of shell, everything quoted but ``python`` and ``container``, which are shell text.

    A command that starts with ``python`` or this process's interpreter starts with the chosen one instead: ``python``,
    or, in a container, ``python3`` of its image, or this process's interpreter.
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
