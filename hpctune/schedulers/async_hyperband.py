"""Asynchronous successive halving (ASHA), in the variant that stops trials instead of pausing them.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020: section 3.2 has the rungs
``r * eta**k`` and the top ``1/eta`` of a rung (algorithm 2, of which this is the stopping form: a trial that is not
promoted when it reaches a rung ends there); section 3.3 has brackets with a higher minimum resource.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Stop
from hpctune.model.trial import Trial
from hpctune.schedulers.metric import ITERATION, MetricScheduler, positive
from hpctune.schedulers.queue_rungs import QueueRungs

_CLOSE = 1e-9
"""Relative tolerance for what floating point makes of whole numbers."""


class AsyncHyperBandScheduler(MetricScheduler):
    """Stops a trial at a rung where it is not among the best ``1 / reduction_factor`` of those that came before.

    - ``time_attr``: what measures a trial's progress. At its first report at or past a rung the trial waits for the
      decision, so it never runs on past the report at which it is stopped.
    - ``max_t``: the trial ends there in any case, unless ``stop_last_trials`` is False.
    - ``grace_period``: the first rung; no trial is stopped before it.
    - ``reduction_factor``: eta. The rungs are ``grace_period * eta**k``.
    - ``brackets``: how many brackets; bracket ``s`` starts at ``grace_period * eta**s``. A trial's bracket is drawn
      with the softmax of the numbers of rungs, from ``seed`` and the trial's index alone.
    - ``adapt_to_queue``: if jobs wait, rungs that a trial reaches soon beside that wait are left out: no trial is
      stopped there. See :mod:`hpctune.schedulers.queue_rungs`.
    """

    def __init__(
        self,
        time_attr: str = ITERATION,
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
        *,
        seed: int = 0,
        adapt_to_queue: bool = True,
        reward_attr: str | None = None,
    ) -> None:
        positive("max_t", max_t)
        positive("grace_period", grace_period)
        positive("reduction_factor", reduction_factor, above=1)
        positive("brackets", brackets, whole=True)
        if max_t < grace_period:
            raise UsageError(f"grace_period must not be greater than max_t: {grace_period!r} > {max_t!r}.")
        if math.isinf(max_t) or math.isinf(reduction_factor):
            raise UsageError(f"max_t and reduction_factor must be finite, not {max_t!r} and {reduction_factor!r}.")
        self.max_t, self.grace_period, self.reduction_factor = max_t, grace_period, reduction_factor
        self.stop_last_trials, self.seed, self._num_brackets = bool(stop_last_trials), seed, brackets
        self.adapt_to_queue = bool(adapt_to_queue)
        super().__init__(time_attr, metric, mode, reward_attr)

    def _reset(self) -> None:
        super()._reset()
        eta = self.reduction_factor
        levels = rung_levels(self.grace_period, self.max_t, eta)
        self._brackets = [Bracket(levels[s:], eta) for s in range(self._num_brackets)]
        self._shares = softmax([len(bracket.rungs) for bracket in self._brackets])
        self._bracket_of: dict[str, Bracket] = {}
        self._last_time: dict[str, float] = {}
        self._stopped: set[str] = set()
        self._queue = QueueRungs()

    # -- decisions ------------------------------------------------------------------------------------------------

    def on_trial_add(self, trial: Trial) -> None:
        """Put the trial in a bracket."""
        super().on_trial_add(trial)
        self._queue.added()
        draw = random.Random(f"{self.seed}/{trial.index}").random()
        for bracket, share in zip(self._brackets, self._shares, strict=True):  # noqa: B007
            draw -= share
            if draw < 0:
                break
        self._bracket_of[trial.trial_id] = bracket

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Stop at ``max_t``, or at a rung where the trial is below the cutoff.

        A result without the metric decides nothing: the rung is looked at with the first result that has it.
        """
        time, score = self._read(row)
        if time is None:
            return CONTINUE
        self._last_time[trial.trial_id] = time
        self._queue.reported(trial, row, time)
        if time >= self.max_t and self.stop_last_trials:
            self._stopped.add(trial.trial_id)
            return Stop(f"{self.time_attr} has reached max_t={self.max_t:g}")
        if score is None:
            return CONTINUE
        bracket, once = self._bracket_of[trial.trial_id], not self.stop_last_trials
        below = bracket.judge(trial.trial_id, time, score, once=once, lowest=self._lowest)
        if below is None:
            return CONTINUE
        self._stopped.add(trial.trial_id)
        level, cutoff = below
        value, limit = self._metric_value(score), self._metric_value(cutoff)
        return Stop(f"rung {level:g}: {self.metric}={value:.4g} is worse than the cutoff {limit:.4g}")

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """As above; its job has left its place."""
        self._queue.ended(trial)
        super().on_trial_complete(trial, row)

    def on_trial_error(self, trial: Trial) -> None:
        """Its job has left its place."""
        self._queue.ended(trial)

    def on_search_exhausted(self) -> None:
        """No new job will wait."""
        self._queue.exhausted()

    def milestone(self, trial: Trial) -> float | None:
        """The next rung of the trial that is not left out, and ``max_t`` after the last."""
        return self.milestone_after(trial, self._last_time.get(trial.trial_id, 0.0))

    def milestone_after(self, trial: Trial, value: float) -> float | None:
        """The same after ``value``."""
        lowest = self._lowest
        rungs = [rung for rung in self._bracket_of[trial.trial_id].rungs if not rung.has(trial.trial_id)]
        ahead = [rung.level for rung in rungs if rung.level >= lowest]
        if self.stop_last_trials:
            ahead.append(self.max_t)
        return min((level for level in ahead if level > value), default=None)

    def end(self, trial: Trial) -> float | None:
        """``max_t``, unless the last trials go on."""
        return self.max_t if self.stop_last_trials else None

    @property
    def _lowest(self) -> float:
        """Rungs below it are left out."""
        return self._queue.lowest if self.adapt_to_queue else 0.0

    # -- for the eyes ---------------------------------------------------------------------------------------------

    def debug_string(self) -> str:
        """The brackets with their rungs, how many trials have reached each, and the cutoffs now."""
        lines = [f"Using AsyncHyperBand: num_stopped={len(self._stopped)}"]
        for bracket in self._brackets:
            rungs = [f"Iter {rung.level:.3f} ({len(rung.ranked)}): {self._shown(rung)}" for rung in bracket.rungs]
            lines.append("Bracket: " + " | ".join(reversed(rungs)))
        lowest = self._lowest
        if any(rung.level < lowest for bracket in self._brackets for rung in bracket.rungs):
            lines.append(f"Rungs below {lowest:.3g} are left out: jobs wait {self._queue.wait_s / 60:.3g} min")
        return "\n".join(lines)

    def _shown(self, rung: Rung) -> str:
        cutoff = rung.cutoff()
        return "None" if cutoff is None else f"{self._metric_value(cutoff):g}"


ASHAScheduler = AsyncHyperBandScheduler


class Rung:
    """The scores at one level, and of which trials."""

    def __init__(self, level: float, eta: float) -> None:
        self.level, self._quantile = level, 1.0 - 1.0 / eta
        self.ranked: list[float] = []
        self._trials: set[str] = set()

    def has(self, trial_id: str) -> bool:
        """Whether the trial was judged here."""
        return trial_id in self._trials

    def take(self, trial_id: str, score: float) -> None:
        """Remember a trial's score."""
        self._trials.add(trial_id)
        insort(self.ranked, score)

    def cutoff(self) -> float | None:
        """The least score of the best ``1 / eta``; None before there is any score."""
        return quantile(self.ranked, self._quantile) if self.ranked else None


class Bracket:
    """Rungs, lowest first."""

    def __init__(self, levels: Sequence[float], eta: float) -> None:
        self.rungs = [Rung(level, eta) for level in levels]

    def judge(
        self, trial_id: str, time: float, score: float, *, once: bool, lowest: float = 0.0
    ) -> tuple[float, float] | None:
        """Take the score at the highest rung that the trial has reached and was not judged at.

        Level and cutoff if it is below the cutoff of those before it, else None. A trial that has skipped a rung
        is judged there with its next result, by Ray's rule; with ``once`` only at the highest rung it has reached.
        Below ``lowest`` its score is noted, for those that come when the rung counts again, and nothing is decided.
        """
        for rung in reversed(self.rungs):
            if time < rung.level:
                continue
            if rung.has(trial_id):
                if once:
                    return None
                continue
            cutoff = rung.cutoff()
            rung.take(trial_id, score)
            if cutoff is None or score >= cutoff or rung.level < lowest:
                return None
            return rung.level, cutoff
        return None


def rung_levels(grace_period: float, max_t: float, eta: float) -> list[float]:
    """``grace_period * eta**k`` up to and with ``max_t``; what is decided at ``max_t`` itself matters only to trials
    that are not stopped there."""
    levels: list[float] = []
    while (level := grace_period * eta ** len(levels)) <= max_t * (1 + _CLOSE):
        levels.append(level)
    return levels


def softmax(sizes: Sequence[int]) -> list[float]:
    """Shares that grow exponentially with the sizes and sum to 1."""
    weights = [math.exp(size - max(sizes)) for size in sizes]
    total = sum(weights)
    return [weight / total for weight in weights]


def quantile(ranked: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``ranked`` (ascending, not empty) lie, interpolated between neighbours."""
    position = (len(ranked) - 1) * share
    low = math.floor(position)
    part = position - low
    if part > 1 - _CLOSE * len(ranked):
        low, part = low + 1, 0.0
    if part < _CLOSE * len(ranked):
        return ranked[low]
    below, above = ranked[low], ranked[low + 1]
    if below == above or math.isinf(below):
        return above  # nothing lies between the worst and a number
    return below + (above - below) * part
