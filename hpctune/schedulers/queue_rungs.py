"""Rungs that follow the wait: those too close to the start of a trial, beside what its job waited in the queue.

Where each trial is a job of its own, one that is stopped after a minute makes room for another that waits for half an
hour first. A rung is worth its decision only if a trial has trained for some time by then, measured by that wait.
All from what a scheduler is told, so a replay of the journal comes to the same rungs. Times in seconds.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Mapping
from typing import Any

from hpctune.model.rows import number
from hpctune.model.trial import Attempt, Trial

SHARE = 0.25
"""A rung is left out if the training up to it takes less than this share of the wait."""
NO_QUEUE_S = 60.0
"""A shorter wait is no queue: so long may a cluster and a driver take to start a job on a free place."""
LAST = 32
"""Jobs, and trials, that count: the newest."""


class QueueRungs:
    """What the newest jobs waited, and how long trials take for a unit of their time attribute."""

    def __init__(self) -> None:
        self._places = Places()
        self._waits: deque[float] = deque(maxlen=LAST)
        self._began: dict[str, int] = {}
        """The newest attempt of each trial that runs."""
        self._paces: dict[str, float] = {}
        """Seconds for a unit of time, of the trials that reported last."""
        self._over = False

    def added(self) -> None:
        """There is one more trial."""
        self._over = False

    def exhausted(self) -> None:
        """No more trials come, so there is no further job that would wait: every rung counts."""
        self._over = True

    def reported(self, trial: Trial, row: Mapping[str, Any], time: float) -> None:
        """A trial has reported, ``time`` being its time attribute."""
        attempt, before = trial.attempt, self._began.get(trial.trial_id)
        if attempt is not None and attempt.number != before:
            if before is not None:
                self._places.left(trial.released_at)  # its last job's
            self._began[trial.trial_id] = attempt.number
            began_at = _began_at(attempt, row)
            if began_at is not None:
                self._waits.append(self._places.taken(attempt.requested_at, began_at))
        trained_s = number(row, "time_total_s")
        if trained_s is not None and trained_s > 0 and time > 0:
            self._paces.pop(trial.trial_id, None)
            self._paces[trial.trial_id] = trained_s / time
            if len(self._paces) > LAST:
                del self._paces[next(iter(self._paces))]

    def ended(self, trial: Trial) -> None:
        """A trial is over."""
        if self._began.pop(trial.trial_id, None) is not None:
            self._places.left(trial.released_at)

    @property
    def wait_s(self) -> float:
        """What a new job makes its place stand empty; 0.0 if that is not known, or too short to matter."""
        wait_s = statistics.median(self._waits) if self._waits and not self._over else 0.0
        return wait_s if wait_s >= NO_QUEUE_S else 0.0

    @property
    def lowest(self) -> float:
        """Rungs below this value of the time attribute are left out."""
        wait_s = self.wait_s
        return SHARE * wait_s / statistics.median(self._paces.values()) if wait_s and self._paces else 0.0


class Places:
    """Places in the cluster: as many as jobs of ours ran at once, lately.

    A job that begins when one of ours ends has waited for that one. That makes no place stand empty, so it counts for
    nothing, however long it was in the queue: with more jobs in the queue than can run it is always so.
    """

    def __init__(self) -> None:
        self._began: list[float] = []
        self._ended: list[float] = []
        self._at_once: deque[int] = deque(maxlen=4 * LAST)

    def taken(self, asked_at: float, began_at: float) -> float:
        """A job takes a place: how long it stood empty while the job waited."""
        insort(self._began, began_at)
        begun = bisect_right(self._began, began_at)
        self._at_once.append(begun - bisect_right(self._ended, began_at))
        predecessors = begun - max(self._at_once)
        since = max(asked_at, self._ended[predecessors - 1]) if predecessors > 0 else asked_at
        return max(0.0, began_at - since)

    def left(self, at: float) -> None:
        """A job leaves its place."""
        insort(self._ended, at)


def _began_at(attempt: Attempt, row: Mapping[str, Any]) -> float | None:
    """When a run began: as the driver saw it, or earlier by what its row says, if the driver was away."""
    said, here_s = number(row, "timestamp"), number(row, "time_since_restore")
    seen = attempt.started_at
    return min(seen, said - here_s) if seen is not None and said is not None and here_s is not None else seen
