"""Processes of this machine."""

from __future__ import annotations

import os


def exists(pid: int) -> bool:
    """Whether there is a process ``pid``, of any user. A zombie is one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
