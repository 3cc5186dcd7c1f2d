"""Processes of this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

_cleanups: list[Callable[[], object]] = []


def clean_up_by(function: Callable[[], object]) -> None:
    """Let :func:`exit_now` call ``function``, which removes what this process has left somewhere."""
    _cleanups.append(function)


def exit_now(code: int) -> NoReturn:
    """End this process, even if user code has left threads or child processes behind."""
    try:
        for function in _cleanups:
            with contextlib.suppress(Exception):
                function()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # user code may have closed it
                stream.flush()
    finally:
        os._exit(code)


def exists(pid: int) -> bool:
    """Whether there is a process ``pid``, of any user. A zombie is one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
