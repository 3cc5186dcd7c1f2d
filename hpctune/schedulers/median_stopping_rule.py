"""The median stopping rule: Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, 3.2.2."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Trial
from hpctune.schedulers.metric import WORST, MetricScheduler, positive


class MedianStoppingRule(MetricScheduler):
    """Stops a trial whose best result is worse than the median of the others' running averages up to its time.

    - ``time_attr``: what measures a trial's progress, ``time_total_s`` or ``training_iteration`` for example.
    - ``grace_period``: no trial is stopped before it, and results before it are in no average.
    - ``min_samples_required``: how many other trials must have got as far before one is stopped.
    - ``min_time_slice``: if too few others have got as far, a trial makes room (it pauses) for trials that wait or
      have yet to begin, each time it has gone on for longer than this. 0: never, since another job costs a wait in the
      queue. (With Ray Tune 0 means at each result.)
    - ``hard_stop=False``: such a trial is paused instead. When nothing else can use its place, it goes on, and is not
      judged again.

    A trial never waits for a decision: it may report more before it learns that it is over, and that counts nowhere.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
        *,
        reward_attr: str | None = None,
    ) -> None:
        positive("grace_period", grace_period, least=True)
        positive("min_samples_required", min_samples_required, whole=True, above=1, least=True)
        positive("min_time_slice", min_time_slice, least=True)
        self.grace_period, self.min_samples_required = grace_period, min_samples_required
        self.min_time_slice, self.hard_stop = min_time_slice, bool(hard_stop)
        super().__init__(time_attr, metric, mode, reward_attr)

    def _reset(self) -> None:
        super()._reset()
        self._histories: dict[str, History] = {}
        self._stopped: set[str] = set()
        self._made_room: dict[str, float] = {}

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Compare with the others, if enough of them have got as far."""
        time, score = self._read(row)
        if time is None or score is None or trial.trial_id in self._stopped:
            return CONTINUE
        own = self._histories.setdefault(trial.trial_id, History())
        own.add(time, score, averaged=time >= self.grace_period)
        if time < self.grace_period:
            return CONTINUE
        averages = self._averages(own, time)
        if len(averages) < self.min_samples_required:
            return self._make_room(trial, time, len(averages))
        median = statistics.median(averages)
        if not own.best < median:
            return CONTINUE
        self._stopped.add(trial.trial_id)
        best, limit = self._metric_value(own.best), self._metric_value(median)
        reason = f"best {self.metric}={best:.4g} is worse than the median {limit:.4g} of {len(averages)} others"
        return Stop(reason) if self.hard_stop else Pause(reason)

    def _make_room(self, trial: Trial, time: float, others: int) -> Decision:
        slice_is_over = time - self._made_room.get(trial.trial_id, -math.inf) > self.min_time_slice
        if not self.min_time_slice or not slice_is_over:
            return CONTINUE
        self._made_room[trial.trial_id] = time
        return Pause(f"makes room: {others} others have got as far, of {self.min_samples_required}", yields=True)

    def _averages(self, own: History, time: float) -> list[float]:
        others = (history for history in self._histories.values() if history is not own and history.newest >= time)
        return [average for history in others if (average := history.average(time)) is not None]

    def debug_string(self) -> str:
        """How many trials were stopped."""
        return f"Using MedianStoppingRule: num_stopped={len(self._stopped)}."


class History:
    """The scores of one trial over its time. Time that goes back (after a restart from a checkpoint) stands still."""

    def __init__(self) -> None:
        self.best = self.newest = WORST
        self._times: list[float] = []
        self._sums: list[float] = []

    def add(self, time: float, score: float, *, averaged: bool) -> None:
        """One more result; ``averaged``: it counts in the running average."""
        self.best, self.newest = max(self.best, score), max(self.newest, time)
        if averaged:
            self._times.append(self.newest)
            self._sums.append(score + (self._sums[-1] if self._sums else 0.0))

    def average(self, time: float) -> float | None:
        """The mean of the scores up to ``time``; None if there are none."""
        count = bisect_right(self._times, time)
        if not count:
            return None
        mean = self._sums[count - 1] / count
        return mean if mean == mean else WORST
