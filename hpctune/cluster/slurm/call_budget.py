"""A hard limit on how often Slurm's commands are called. Pure except for the injected clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, get_args

from hpctune.errors import ClusterUnavailableError
from hpctune.ports import CallStats

CallKind = Literal["query", "submit", "cancel"]
WINDOW_S = 60.0


class CallBudget:
    """At most ``per_minute`` calls in any 60 s (None: no limit).

    A tenth of the calls, and at least one, is reserved for each kind, so that no kind can starve another: the driver
    can still query and cancel while it submits a thousand jobs.
    """

    def __init__(self, per_minute: int | None, now: Callable[[], float]) -> None:
        self._limit, self._now = per_minute, now
        self._calls: deque[tuple[float, CallKind]] = deque()
        self._total = self._deferred = 0
        self._reserve = 0 if per_minute is None else max(1, per_minute // 10)

    def available(self, kind: CallKind) -> int | None:
        """How many calls of ``kind`` may be made right now; None: any number."""
        self._forget()
        if self._limit is None:
            return None
        kept = sum(max(0, self._reserve - self._made(k)) for k in get_args(CallKind) if k != kind)
        return max(0, self._limit - len(self._calls) - kept)

    def spend(self, kind: CallKind) -> None:
        """Count one call. If it may not be made now, count it as deferred and raise ClusterUnavailableError."""
        if self.available(kind) == 0:
            self._deferred += 1
            wait = max(0.0, self._calls[0][0] + WINDOW_S - self._now()) if self._calls else WINDOW_S
            raise ClusterUnavailableError(
                f"The budget of {self._limit} Slurm commands a minute is spent; next call in {wait:.0f} s. "
                f"If the site allows more, raise SlurmOptions(calls_per_minute=...)."
            )
        self._calls.append((self._now(), kind))
        self._total += 1

    def stats(self) -> CallStats:
        """Calls so far, and in the last 60 s."""
        self._forget()
        return CallStats(self._total, len(self._calls), self._limit, self._deferred)

    def _made(self, kind: CallKind) -> int:
        return sum(k == kind for _, k in self._calls)

    def _forget(self) -> None:
        now = self._now()
        while self._calls and (self._calls[0][0] <= now - WINDOW_S or self._calls[0][0] > now):
            self._calls.popleft()
