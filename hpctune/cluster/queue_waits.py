"""How long jobs wait in the queue, and the rules for a pool of workers that follow. Pure; all times in seconds.

Each rule changes nothing if no wait is known yet, or if jobs do not wait.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence

from hpctune.common.text import duration

LAST = 32
"""Number of the newest jobs that count."""
MAX_IDLE_GRACE_S = 900.0
"""An idle allocation is kept at most this many seconds, however long the queue is (or ``idle_timeout_s`` if longer)."""
MAX_PROVISIONING_S = 4 * 3600.0
"""A successor is requested at most this many seconds before the end of its predecessor."""
TRIALS_A_WORKER = 4
"""An allocation should have time for this many trials, each as long as the longest of the recent ones."""
WAITS_A_WORKER = 3
"""An allocation should last this many times as long as it took to get it: at most a quarter of the time is lost."""
MIN_MINUTES, MAX_MINUTES = 10, 240
UNKNOWN_MINUTES = 60
"""The time limit in minutes while no trial has ended yet."""


class QueueWaits:
    """How long recent jobs waited from submission to start, and needed from their start to their first work."""

    def __init__(self) -> None:
        self._waited: deque[float] = deque(maxlen=LAST)
        self._began: deque[float] = deque(maxlen=LAST)

    def started(self, wait_s: float) -> None:
        """Record that a job has started after ``wait_s`` seconds in the queue."""
        self._waited.append(max(0.0, wait_s))

    def began(self, startup_s: float) -> None:
        """Record that a job has begun to work, ``startup_s`` seconds after its start."""
        self._began.append(max(0.0, startup_s))

    def wait_s(self, waiting: Iterable[float] = ()) -> float:
        """The expected wait of a new job in seconds; 0.0 before any job has started.

        ``waiting``: how long the jobs in the queue have waited so far.
        """
        return censored_median(self._waited, waiting) if self._waited else 0.0

    @property
    def startup_s(self) -> float:
        """The median start-up time in seconds; 0.0 if none is known."""
        return statistics.median(self._began) if self._began else 0.0

    def summary(self, waiting: Sequence[float] = ()) -> str:
        """Such as "jobs waited 12 min in the queue (median of 8), start-up 9 s"; "" if nothing is known."""
        parts = []
        if self._waited:
            wait = duration(censored_median(self._waited, waiting))
            parts.append(f"jobs waited {wait} in the queue (median of {len(self._waited)})")
        elif longest := max(waiting, default=0.0):
            parts.append(f"jobs have waited {duration(longest)} in the queue so far")
        if self._began:
            parts.append(f"start-up {duration(self.startup_s)}")
        return ", ".join(parts)


def censored_median(seen: Iterable[float], unfinished: Iterable[float] = ()) -> float:
    """The median of durations of which some have not ended yet (Kaplan and Meier 1958); 0.0 if none are given.

    A duration that has not ended counts as longer than it is now. If more than half have not ended, the result is the
    longest duration so far.
    """
    ended = sorted((length, False) for length in seen)
    both = sorted([*ended, *((length, True) for length in unfinished)])
    surviving, at_risk = 1.0, len(both)
    for length, open_ended in both:
        if not open_ended:
            surviving *= 1.0 - 1.0 / at_risk
            if surviving <= 0.5 + 1e-9:
                return length
        at_risk -= 1
    return both[-1][0] if both else 0.0


def idle_grace_s(idle_timeout_s: float, wait_s: float) -> float:
    """Seconds that an idle worker, or a queued job, is kept while more trials are expected.

    This is the time it takes to get another worker, which never costs more than twice the optimum in hindsight. It is
    at least ``idle_timeout_s``; a longer wait counts as MAX_IDLE_GRACE_S.
    """
    return max(idle_timeout_s, min(wait_s, MAX_IDLE_GRACE_S))


def trials_started_within(places: int, trial_s: float | None, provisioning_s: float) -> int:
    """How many trials begin in ``places`` places before a worker that is requested now could take one.

    No worker is requested for that many trials. ``trial_s``: average duration of a trial in seconds; None: not known.
    ``provisioning_s``: seconds until the new worker could begin.
    """
    return int(places * provisioning_s / trial_s) if trial_s else 0


def needs_successor(age_s: float, time_left_s: float, warning_s: float, provisioning_s: float) -> bool:
    """Whether a worker's successor should be in the queue now.

    It should if the time left, up to the warning ``warning_s`` before the end, is no more than a new worker needs to
    come, and no more than half of the worker's own time: a successor that comes early must not end a worker that has
    hardly worked.
    """
    return provisioning_s > 0 and time_left_s - warning_s <= min(provisioning_s, MAX_PROVISIONING_S, age_s)


def worker_minutes(
    trials_s: Sequence[float], provisioning_s: float, warning_s: float, max_minutes: int | None = None
) -> int:
    """The time limit in minutes that the pool chooses for a worker.

    It is short enough to fit into gaps of the schedule, and long enough to be worth the wait: the time of
    TRIALS_A_WORKER trials, each as long as the longest of ``trials_s`` (durations of recent trials in seconds), or
    WAITS_A_WORKER times ``provisioning_s`` (queue and start-up) if that is more; plus ``warning_s``. At least
    MIN_MINUTES, at most ``max_minutes`` (None: MAX_MINUTES). UNKNOWN_MINUTES while no trial has ended.
    """
    bound = MAX_MINUTES if max_minutes is None else max_minutes
    if not trials_s:
        return min(UNKNOWN_MINUTES, bound)
    work_s = max(TRIALS_A_WORKER * max(trials_s), WAITS_A_WORKER * provisioning_s)
    return min(max(math.ceil((work_s + warning_s) / 60.0), MIN_MINUTES), bound)
