"""Asking the process that transfers this job's files whether a claim holds on the driver's host as well.

Without such a process, the claim's file is in the experiment's directory itself, and no process needs to be asked.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import StrPath

VARIABLE = "HPCTUNE_CLAIM_SOCKET"
"""Names the descriptor of the socket over which that process is asked."""
PROJECT = "HPCTUNE_PROJECT_IS_COPIED"
"""Is set if the user's project is a copy in the trial's directory."""
YES, NO = b"y", b"n"
_has_copies = _project_is_copied = False


def has_copies() -> bool:
    """Whether this job works with copies of the files that it needs, far from the experiment's directory."""
    return _has_copies


def project_is_copied() -> bool:
    """Whether the user's project is a copy in the trial's directory."""
    return _project_is_copied


@contextlib.contextmanager
def confirming() -> Iterator[Callable[[StrPath], bool]]:
    """Gives a function that says whether the claim in a run file that was just created here holds.

    It takes the path of the run file. If it returns False, the file holds the claim of who was first, or the job is
    over.
    """
    global _has_copies, _project_is_copied
    number = os.environ.pop(VARIABLE, "")
    _has_copies, _project_is_copied = bool(number), bool(os.environ.pop(PROJECT, ""))
    if not number:
        yield lambda path: True
        return
    with socket.socket(fileno=int(number)) as end:
        end.set_inheritable(False)
        yield lambda path: _asked(end, path)


def _asked(end: socket.socket, path: StrPath) -> bool:
    try:
        end.sendall(os.fsencode(os.path.basename(path)) + b"\n")
        return end.recv(1) == YES
    except OSError:
        return False
