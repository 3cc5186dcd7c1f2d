"""Asynchronous successive halving that promotes: Li et al., "A System for Massively Parallel Hyperparameter Tuning",
MLSys 2020, algorithm 2 as it stands there. Trials pause at each rung, and go on when they are worth it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.async_hyperband import rung_levels
from hpctune.schedulers.metric import ITERATION, MetricScheduler, positive

_CLOSE = 1e-9


class ASHAPromotionScheduler(MetricScheduler):
    """Pauses each trial at each rung; one goes on from there while it is among the best ``1 / reduction_factor`` of all
    that have ever been at that rung. One that is so when it arrives goes on at once, in its job.

    - ``time_attr``: what measures a trial's progress. A trial is paused at its first report at or past a rung.
    - ``max_t``: the last rung; trials end there.
    - ``grace_period``: the first rung.
    - ``reduction_factor``: eta. The rungs are ``grace_period * eta**k``, and ``max_t``.

    A free place goes to a trial that can be promoted, the highest rung first; if there is none, to a new trial. When
    the searcher has no more trials, those that nothing to come can promote end where they are.
    """

    synchronous = True

    def __init__(
        self,
        time_attr: str = ITERATION,
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 3,
    ) -> None:
        positive("max_t", max_t)
        positive("grace_period", grace_period)
        positive("reduction_factor", reduction_factor, above=1)
        if max_t < grace_period:
            raise UsageError(f"grace_period must not be greater than max_t: {grace_period!r} > {max_t!r}.")
        if math.isinf(max_t) or math.isinf(reduction_factor):
            raise UsageError(f"max_t and reduction_factor must be finite, not {max_t!r} and {reduction_factor!r}.")
        self.max_t, self.grace_period, self.reduction_factor = max_t, grace_period, reduction_factor
        super().__init__(time_attr, metric, mode)

    def _reset(self) -> None:
        super()._reset()
        levels = rung_levels(self.grace_period, self.max_t, self.reduction_factor)
        if levels[-1] < self.max_t * (1 - _CLOSE):
            levels.append(self.max_t)
        self._rungs = [PromotionRung(level) for level in levels]
        self._top = len(levels) - 1
        """No trial goes past the rung of this index."""
        self._time: dict[str, float] = {}
        self._held: dict[str, int] = {}
        """At which rung a trial waits to be promoted."""
        self._exhausted = False

    # -- what happens ---------------------------------------------------------------------------------------------

    def on_trial_add(self, trial: Trial) -> None:
        """One more is on its way to the first rung."""
        super().on_trial_add(trial)
        self._time[trial.trial_id], self._exhausted = 0.0, False

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """At a rung: go on if promoted at once, else pause. At ``max_t``: stop.

        A result without the metric decides nothing but the end: the rung is looked at with the first one that has it.
        """
        time, score = self._read(row)
        if time is None:
            return CONTINUE
        self._time[trial.trial_id] = time
        self._held.pop(trial.trial_id, None)
        new = self._arrive(trial, time, score) if score is not None else []
        if time >= self.max_t:
            return Stop(f"{self.time_attr} has reached max_t={self.max_t:g}")
        if not new or trial.trial_id in self._best(new[-1]):
            return CONTINUE
        rung = self._rungs[new[-1]]
        self._held[trial.trial_id] = new[-1]
        return Pause(
            f"rung {rung.level:g}: {self.metric}={self._metric_value(rung.scores[trial.trial_id]):.4g} is number "
            f"{rung.place(trial.trial_id)} of {len(rung.ranked)}"
        )

    def _arrive(self, trial: Trial, time: float, score: float) -> list[int]:
        """Take the score at the rungs that the trial has reached now; their indices."""
        reached = [index for index, rung in enumerate(self._rungs) if time >= rung.level * (1 - _CLOSE)]
        new = [index for index in reached if trial.trial_id not in self._rungs[index].scores]
        for index in new:
            self._rungs[index].take(trial.trial_id, trial.index, score)
        return new

    def _best(self, at: int) -> list[str]:
        """The trials that may go on from this rung, best first."""
        if at >= self._top:
            return []
        rung = self._rungs[at]
        return [trial_id for _, _, trial_id in rung.ranked[: self._places(len(rung.ranked))]]

    def _places(self, arrived: int) -> int:
        """How many of so many that have been at a rung may go on."""
        return math.floor(arrived / self.reduction_factor * (1 + _CLOSE))

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """Its scores stay, for the comparison with others."""
        self._forget(trial)
        super().on_trial_complete(trial, row)

    def on_trial_error(self, trial: Trial) -> None:
        """Its scores stay, for the comparison with others."""
        self._forget(trial)

    def _forget(self, trial: Trial) -> None:
        self._held.pop(trial.trial_id, None)
        self._time.pop(trial.trial_id, None)

    def on_search_exhausted(self) -> None:
        """A trial that is not promoted by what is still on its way never will be."""
        self._exhausted = True

    # -- questions ------------------------------------------------------------------------------------------------

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The oldest that does not wait at a rung, else the best of the highest rung that can be promoted.

        If all trials wait and the searcher gives none for the moment, the best of the highest rung goes on, so that
        something goes on at all.
        """
        for trial in waiting:
            if trial.trial_id not in self._held or (trial.phase is Phase.PENDING and trial.leave is None):
                return trial.trial_id
        ids = {trial.trial_id for trial in waiting}
        for at in reversed(range(self._top)):
            for trial_id in self._best(at):
                if trial_id in ids and self._held.get(trial_id) == at:
                    return trial_id
        if not idle or self._exhausted or len(self._held) < len(self._time):
            return None
        return min(ids, key=self._rank, default=None)

    def never_resumed(self, active: Sequence[Trial]) -> Collection[str]:
        """Those that are not among the best of their rung, even if all that can still come to it do, and do worse."""
        if not self._exhausted:
            return ()
        paused = [t.trial_id for t in active if t.phase is Phase.PAUSED and t.trial_id in self._held]
        places = dict[int, int]()
        for at in {self._held[trial_id] for trial_id in paused}:
            rung = self._rungs[at]
            coming = sum(trial.trial_id not in rung.scores for trial in active)
            places[at] = self._places(len(rung.ranked) + coming)
        return [i for i in paused if self._rungs[self._held[i]].place(i) > places[self._held[i]]]

    def _rank(self, trial_id: str) -> tuple[int, int]:
        at = self._held[trial_id]
        return -at, self._rungs[at].place(trial_id)

    def end(self, trial: Trial) -> float | None:
        """``max_t``."""
        return self.max_t

    def milestone(self, trial: Trial) -> float | None:
        """The next rung."""
        passed = self._time.get(trial.trial_id, 0.0)
        return next((rung.level for rung in self._rungs if rung.level > passed), None)

    def debug_string(self) -> str:
        """The rungs: how many have been there, and how many of them wait there."""
        waiting = list(self._held.values())
        rungs = [
            f"Iter {rung.level:g}: {len(rung.ranked)} ({waiting.count(index)} waiting)"
            for index, rung in enumerate(self._rungs)
            if rung.ranked or index <= self._top
        ]
        return f"Using {type(self).__name__}: " + " | ".join(reversed(rungs))


class PromotionRung:
    """The scores at one level, best first; of equals the older trial is the better."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.scores: dict[str, float] = {}
        self.ranked: list[tuple[float, int, str]] = []
        self._entries: dict[str, tuple[float, int, str]] = {}

    def take(self, trial_id: str, index: int, score: float) -> None:
        """Remember a trial's score."""
        self.scores[trial_id], self._entries[trial_id] = score, (-score, index, trial_id)
        insort(self.ranked, self._entries[trial_id])

    def place(self, trial_id: str) -> int:
        """1 for the best."""
        return bisect_left(self.ranked, self._entries[trial_id]) + 1
