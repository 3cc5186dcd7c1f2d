"""Processes of this machine."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

EXIT_FUNCTIONS_S = 60.0
"""Seconds for the functions that are called at the end of a process."""
_cleanups: list[Callable[[], object]] = []


def clean_up_by(function: Callable[[], object]) -> None:
    """Let :func:`exit_now` call ``function``, which removes what this process has left somewhere."""
    _cleanups.append(function)


def exit_now(code: int) -> NoReturn:
    """End this process, even if user code has left threads or child processes behind.

    What packages have registered for the end of the process is called, as trackers deliver their last rows by it. It
    has a limited time.
    """
    try:
        threading.Thread(target=_exit_later, args=(code,), daemon=True).start()
        with contextlib.suppress(BaseException):
            _run_exit_functions()
        for function in _cleanups:
            with contextlib.suppress(Exception):
                function()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # user code may have closed it
                stream.flush()
    finally:
        os._exit(code)


def forget_exit_functions() -> None:
    """For a forked child: what the parent has registered for its end is not to be called at the end of the child."""
    atexit._clear()


def _run_exit_functions() -> None:
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:  # it would wait for the processes that are left behind
        atexit.unregister(multiprocessing._exit_function)
    atexit._run_exitfuncs()


def _exit_later(code: int) -> None:
    time.sleep(EXIT_FUNCTIONS_S)
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
