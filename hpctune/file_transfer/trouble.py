"""Steps that need the driver's host: repeated while it cannot be reached, for as long as a trial waits for storage."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.errors import ConnectionLostError, RemoteClusterError, TuneError, UsageError
from hpctune.worker.storage_retry import LAST_WORD_S

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.2, 10.0


class Trouble:
    """What has gone wrong since the last step that succeeded, or that made progress before it failed.

    ``moved``: how many bytes have been copied so far. ``limit_s``: for how long steps are repeated.
    """

    def __init__(self, moved: Callable[[], int], limit_s: float) -> None:
        self.error: Exception | None = None
        self._limit_s = limit_s
        self._moved, self._moved_before = moved, 0
        self._ever = False
        """Whether a step has succeeded."""
        self._since = 0.0
        self._not_before = 0.0
        self._pauses = Backoff(_FIRST_PAUSE_S, _MAX_PAUSE_S)

    def attempt(self, step: Callable[[], object]) -> bool:
        """Do a step, unless one has failed a moment ago. Returns whether it was done. A step after one that failed
        must need the host: its success ends the trouble."""
        if self.error is not None and time.monotonic() < self._not_before:
            return False
        try:
            step()
        except (OSError, TuneError) as error:
            self._note(error)
            return False
        if self.error is not None:
            log.warning(f"hpctune: files are copied again after {time.monotonic() - self._since:.0f} s")
        self.error, self._ever = None, True
        self._pauses.reset()
        return True

    def _note(self, error: Exception) -> None:
        before, self._moved_before = self._moved_before, self._moved()
        if self.error is None or self._moved_before > before:
            self._since = time.monotonic()
            self._pauses.reset()
        if self.error is None:
            log.warning(f"hpctune: waiting, nothing is lost: {error} (trying for up to {self._limit_s:g} s)")
        self.error = error
        self._not_before = time.monotonic() + self._pauses.take() * random.uniform(0.5, 1.0)  # jobs begin together

    @property
    def refused(self) -> bool:
        """Whether the host was reached and does not let the job in."""
        return isinstance(self.error, UsageError) or (
            isinstance(self.error, RemoteClusterError) and not isinstance(self.error, ConnectionLostError)
        )

    @property
    def too_long(self) -> bool:
        """Whether it is time to give up. A host that refuses does not change its mind soon."""
        if self.error is None:
            return False
        limit = min(LAST_WORD_S, self._limit_s) if self.refused and not self._ever else self._limit_s
        return time.monotonic() - self._since >= limit
