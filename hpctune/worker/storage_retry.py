"""Retrying while a shared filesystem refuses for a while: full, over quota, read-only, stale, or not answering."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from hpctune.common.log import log
from hpctune.errors import StorageError

PATIENCE_S = 600.0
"""Maximum number of seconds that a trial waits; HPCTUNE_STORAGE_PATIENCE_S replaces it."""
LAST_WORD_S = 60.0
"""The same for a run that only has to write its outcome."""
VARIABLE = "HPCTUNE_STORAGE_PATIENCE_S"
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.2, 10.0
_PASSING = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOLCK,
    errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENODEV, errno.EREMOTEIO,
})  # fmt: skip
_NUMBER = re.compile(r"\[Errno (\d+)\]")

_Result = TypeVar("_Result")


def is_transient(error: BaseException | None) -> bool:
    """Whether ``error`` (or its cause) comes from a filesystem that may work again later."""
    while error is not None:
        if isinstance(error, OSError) and _numbers(error) & _PASSING:
            return True
        error = error.__cause__
    return False


def _numbers(error: OSError) -> set[int | None]:
    if isinstance(error, shutil.Error):  # from copying a tree: (source, target, reason) of each file, as text
        return {int(number) for number in _NUMBER.findall(str(error.args))}
    return {error.errno}


def retry_limit_s() -> float:
    """Maximum number of seconds that a trial waits."""
    try:
        return max(0.0, float(os.environ[VARIABLE]))
    except (KeyError, ValueError):
        return PATIENCE_S


def retry_storage(
    action: Callable[[], _Result], *, within_s: float | None = None, give_up: Callable[[], object] = lambda: False
) -> _Result:
    """Return the result of ``action``. While the filesystem refuses, try again, for at most so many seconds (default:
    :func:`retry_limit_s`) and until ``give_up``. Raises the error of the last try."""
    began = time.monotonic()
    waiting: Iterator[None] | None = None
    while True:
        try:
            result = action()
        except (OSError, StorageError) as error:
            limit = retry_limit_s() if within_s is None else within_s
            if not is_transient(error) or time.monotonic() - began >= limit or give_up():
                raise
            if waiting is None:
                waiting = pauses(began + limit)
                log.warning(f"hpctune: waiting, nothing is lost: {error} (trying for up to {limit:g} s)")
        else:
            if waiting is not None:
                log.warning(f"hpctune: the storage works again after {time.monotonic() - began:.0f} s")
            return result
        next(waiting)


def pauses(deadline: float) -> Iterator[None]:
    """Each item sleeps, longer than the one before, but not beyond ``deadline`` (monotonic seconds)."""
    pause = _FIRST_PAUSE_S
    while True:
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 2, _MAX_PAUSE_S)
        yield
