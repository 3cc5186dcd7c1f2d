"""``error.txt``: every failure of a trial, oldest first."""

from __future__ import annotations

import contextlib
import os
import time

from hpctune.model.records import ErrorInfo
from hpctune.storage import permissions
from hpctune.storage.layout import TrialPaths

_HEAD = "Failure # "


def write_error(paths: TrialPaths, error: ErrorInfo, at: float) -> None:
    """Append ``error``, recorded at ``at`` (Unix seconds). A write error is ignored."""
    with contextlib.suppress(OSError):
        number = _failures(paths) + 1
        when = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(at))
        text = f"{_HEAD}{number} (occurred at {when})\n{error.traceback.rstrip() or error}\n\n"
        fd = permissions.open_to_append(paths.error, parents=True)
        with os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


def _failures(paths: TrialPaths) -> int:
    try:
        text = paths.error.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return 0
    return sum(line.startswith(_HEAD) for line in text.splitlines())
