"""How long jobs wait in the queue, and what follows from that for a pool of workers. Pure; all times in seconds.

Each rule is neutral where nothing is known of the queue, or where it does not make anybody wait.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence

from hpctune.common.text import duration

LAST = 32
"""Jobs that count: the newest."""
MAX_IDLE_GRACE_S = 900.0
"""However long the queue is, nobody pays for an idle allocation for longer (unless ``idle_timeout_s`` says so)."""
MAX_PROVISIONING_S = 4 * 3600.0
"""A successor is asked for no earlier than this before its predecessor's time is up."""
TRIALS_A_WORKER = 4
"""An allocation should hold so many trials of the longest kind seen lately."""
WAITS_A_WORKER = 3
"""An allocation should last so many times what it took to get it: a quarter of the time is lost at most."""
MIN_MINUTES, MAX_MINUTES = 10, 240
UNKNOWN_MINUTES = 60
"""Asked for while no trial has ended yet."""


class QueueWaits:
    """What the last jobs waited from submission to start, and took from there to their first work."""

    def __init__(self) -> None:
        self._waited: deque[float] = deque(maxlen=LAST)
        self._began: deque[float] = deque(maxlen=LAST)

    def started(self, wait_s: float) -> None:
        """One more job has started."""
        self._waited.append(max(0.0, wait_s))

    def began(self, startup_s: float) -> None:
        """One more job has begun to work, so long after its start."""
        self._began.append(max(0.0, startup_s))

    def wait_s(self, waiting: Iterable[float] = ()) -> float:
        """What a job will wait, as far as can be told; 0.0 before any has started. ``waiting``: how long those in the
        queue have been there."""
        return censored_median(self._waited, waiting) if self._waited else 0.0

    @property
    def startup_s(self) -> float:
        """The median; 0.0 where nothing is known."""
        return statistics.median(self._began) if self._began else 0.0

    def summary(self, waiting: Sequence[float] = ()) -> str:
        """Such as "jobs waited 12 min in the queue (median of 8), start-up 9 s"; "" where nothing is known."""
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
    """The median of durations of which some are not over yet (Kaplan and Meier 1958); 0.0 where none are given.

    A duration that is not over counts as longer than it is now. Where more than half are, the longest seen so far.
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
    """How long a worker without work, or a place in the queue, is kept while more may come.

    As long as it would take to get another one: that never costs more than twice what knowing the future would. At
    least ``idle_timeout_s``; a longer wait counts as MAX_IDLE_GRACE_S.
    """
    return max(idle_timeout_s, min(wait_s, MAX_IDLE_GRACE_S))


def trials_started_within(places: int, trial_s: float | None, provisioning_s: float) -> int:
    """How many trials begin in ``places`` places before a worker that is asked for now could take one.

    For so many no worker is asked for. ``trial_s``: seconds that a trial takes on average; None: not known.
    ``provisioning_s``: seconds until the worker could begin."""
    return int(places * provisioning_s / trial_s) if trial_s else 0


def needs_successor(age_s: float, time_left_s: float, warning_s: float, provisioning_s: float) -> bool:
    """Whether a worker that is told to leave ``warning_s`` before its end has so little time left that its successor
    should be in the queue now: no more than a new worker takes to come, and half of its own at most. So a successor
    that comes early does not end it before it was of use."""
    return provisioning_s > 0 and time_left_s - warning_s <= min(provisioning_s, MAX_PROVISIONING_S, age_s)


def worker_minutes(trials_s: Sequence[float], provisioning_s: float, warning_s: float, most: int | None = None) -> int:
    """The time limit of a worker, if the pool chooses it: short enough to fit into gaps, long enough to be worth the
    wait.

    The time of TRIALS_A_WORKER trials as long as the longest of ``trials_s`` (seconds that recent trials took), or
    WAITS_A_WORKER times ``provisioning_s`` (queue and start-up) if that is more; plus ``warning_s``. At least
    MIN_MINUTES, at most ``most`` (None: MAX_MINUTES); UNKNOWN_MINUTES while no trial has ended.
    """
    bound = MAX_MINUTES if most is None else most
    if not trials_s:
        return min(UNKNOWN_MINUTES, bound)
    work_s = max(TRIALS_A_WORKER * max(trials_s), WAITS_A_WORKER * provisioning_s)
    return min(max(math.ceil((work_s + warning_s) / 60.0), MIN_MINUTES), bound)
