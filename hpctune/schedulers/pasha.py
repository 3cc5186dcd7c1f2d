"""PASHA: Bohdal et al., "PASHA: Efficient HPO and NAS with Progressive Resource Allocation", ICLR 2023."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.model.decisions import Decision
from hpctune.model.trial import Trial
from hpctune.schedulers.asha_promotion import ASHAPromotionScheduler
from hpctune.schedulers.async_hyperband import quantile
from hpctune.schedulers.metric import ITERATION, positive


class PASHAScheduler(ASHAPromotionScheduler):
    """ASHA whose last rung moves up only while longer training still changes who is better than whom.

    It begins with the two lowest rungs. Whenever a trial reaches the top one, the trials there are ranked by their
    scores at both; while the two rankings differ, the next rung becomes the top. Scores closer than epsilon count as
    equal. Epsilon is the 90th percentile (``noise_percentile``) of the distances between trials that have overtaken one
    another twice on their way: what lies between those is noise.

    The other arguments are those of :class:`ASHAPromotionScheduler`; ``max_t`` is the limit up to which the top rung
    may move. The best trial may thus end long before ``max_t``, by design: train its configuration in full afterwards.
    """

    def __init__(
        self,
        time_attr: str = ITERATION,
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 3,
        *,
        noise_percentile: float = 90,
    ) -> None:
        positive("noise_percentile", noise_percentile, least=True)
        positive("100 - noise_percentile", 100 - noise_percentile, least=True)
        self.noise_percentile = noise_percentile
        super().__init__(time_attr, metric, mode, max_t, grace_period, reduction_factor)

    def _reset(self) -> None:
        super()._reset()
        self._top = min(1, len(self._rungs) - 1)
        self._curves: dict[str, dict[float, float]] = {}
        self._noise: list[float] = []
        """Distances at the top rung between trials that have overtaken one another twice."""
        self._epsilon = 0.0

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """As with ASHA, and a look at the rankings."""
        time, score = self._read(row)
        if time is not None and score is not None:
            self._curves.setdefault(trial.trial_id, {})[time] = score
        return super().on_trial_result(trial, row)

    def _arrive(self, trial: Trial, time: float, score: float) -> list[int]:
        new = super()._arrive(trial, time, score)
        if self._top in new and self._top > 0:
            self._measure_noise(trial.trial_id)
            if self._top < len(self._rungs) - 1 and not self._stable():
                self._top += 1
                self._noise = []
        return new

    def _measure_noise(self, trial_id: str) -> None:
        scores = self._rungs[self._top].scores
        for other, score in scores.items():
            gap = distance(scores[trial_id], score)
            if (
                other != trial_id
                and math.isfinite(gap)
                and overtakes_twice(self._curves[trial_id], self._curves[other])
            ):
                self._noise.append(gap)
        if self._noise:
            self._epsilon = quantile(sorted(self._noise), self.noise_percentile / 100)

    def _stable(self) -> bool:
        """Whether those at the top rung are ranked there as they were at the rung below, within epsilon."""
        top, below = self._rungs[self._top], self._rungs[self._top - 1]
        before = [entry for entry in below.ranked if entry[2] in top.scores]
        return same_ranking([entry[2] for entry in top.ranked], before, self._epsilon)

    def debug_string(self) -> str:
        """The rungs up to the top one, and epsilon."""
        return f"{super().debug_string()}; the top is {self._rungs[self._top].level:g}, epsilon={self._epsilon:.3g}"


def same_ranking(ranked: Sequence[str], before: Sequence[tuple[float, int, str]], epsilon: float) -> bool:
    """Whether everybody has a place that it could have had ``before`` as well (negative scores, best first), if those
    within ``epsilon`` of each other might have changed places."""
    scores = {trial_id: score for score, _, trial_id in before}
    return all(
        distance(scores[trial_id], score) <= epsilon for trial_id, (score, _, _) in zip(ranked, before, strict=True)
    )


def distance(one: float, other: float) -> float:
    """How far two scores are apart; the worst of scores is no distance from itself."""
    return 0.0 if one == other else abs(one - other)


def overtakes_twice(one: Mapping[float, float], other: Mapping[float, float]) -> bool:
    """Whether one curve (scores by time) was above the other, then below, then above again, or the reverse."""
    changes, last = 0, None
    for time in sorted(one.keys() & other.keys()):
        if one[time] != other[time]:
            above = one[time] > other[time]
            changes += last is not None and above != last
            last = above
    return changes >= 2
