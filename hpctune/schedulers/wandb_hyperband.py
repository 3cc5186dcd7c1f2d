"""The early stopping of W&B's sweeps, which they call Hyperband: bands at which the worse trials are stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Stop
from hpctune.model.trial import Trial
from hpctune.schedulers.metric import ITERATION, WORST, MetricScheduler, positive

_BANDS = 100
"""As many as W&B has from min_iter on."""


class WandbHyperband(MetricScheduler):
    """Stops a trial that is worse than the best ``1 / eta`` of all trials at its last band.

    A band is a number of results. The value at the band is compared with the values of all trials that have come as
    far, whenever the trial reports: one that was good when it came there is stopped as soon as enough others were
    better. At a band the trial waits for the decision; W&B's agents ask a server from time to time instead.

    - ``min_iter``: the first band; the others are ``min_iter * eta**k``.
    - ``max_iter``, ``s``: in its place, the bands ``max_iter / eta**k`` for k from 1 to ``s``.
    - ``eta``: see above.
    - ``strict``: compare the value at the band, else the best value so far.
    """

    def __init__(
        self,
        min_iter: int | None = None,
        max_iter: int | None = None,
        s: float | None = None,
        eta: float = 3,
        strict: bool = True,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        positive("eta", eta, above=1)
        if max_iter is not None:
            positive("max_iter", max_iter)
            if s is None:
                raise UsageError("max_iter needs s, the number of bands before it; or give min_iter.")
            positive("s", s)
            self.bands = sorted(int(max_iter / eta**k) for k in range(1, int(s) + 1) if max_iter / eta**k >= 1)
        elif min_iter is not None:
            positive("min_iter", min_iter)
            self.bands = [int(min_iter * eta**k) for k in range(_BANDS)]
        else:
            raise UsageError("Give min_iter, or max_iter and s: they say at which results trials are stopped.")
        if not self.bands:
            raise UsageError(f"There is no band: max_iter={max_iter!r} / eta={eta!r} is less than 1.")
        self.min_iter, self.max_iter, self.s, self.eta, self.strict = min_iter, max_iter, s, eta, bool(strict)
        super().__init__(ITERATION, metric, mode)

    def _reset(self) -> None:
        super()._reset()
        self._last: dict[str, float] = {}
        self._best: dict[str, float] = {}
        self._at: dict[int, dict[str, float]] = {}
        """The scores of the trials at each band."""
        self._reached: dict[str, int] = {}
        """The last band of each trial."""
        self._stopped: set[str] = set()

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Compare the trial with all at its last band."""
        time, score = self._read(row)
        name = trial.trial_id
        if score is None or time is None or name in self._stopped:
            return CONTINUE
        self._last[name] = max(self._last.get(name, 0), time)
        self._best[name] = max(self._best.get(name, WORST), score)
        for reached in self.bands:
            if reached > time:
                break
            if reached > self._reached.get(name, 0):
                self._at.setdefault(reached, {})[name] = score
                self._reached[name] = reached
        band = self._reached.get(name)
        if band is None:
            return CONTINUE
        ranked = sorted(self._at[band].values(), reverse=True)
        threshold = ranked[int(len(ranked) / self.eta)]
        own = self._at[band][name] if self.strict else self._best[name]
        if own >= threshold:
            return CONTINUE
        self._stopped.add(name)
        value, limit = self._metric_value(own), self._metric_value(threshold)
        return Stop(
            f"{self.metric}={value:.4g} at band {band} is not among the best 1/{self.eta:g} of {len(ranked)} trials "
            f"(limit {limit:.4g})"
        )

    def milestone(self, trial: Trial) -> float | None:
        """The trial's next band."""
        return self.milestone_after(trial, self._last.get(trial.trial_id, 0))

    def milestone_after(self, trial: Trial, value: float) -> float | None:
        """The first band after ``value``."""
        return next((band for band in self.bands if band > value), None)

    def debug_string(self) -> str:
        """How many trials were stopped."""
        bands = ", ".join(map(str, self.bands[:4])) + (", ..." if len(self.bands) > 4 else "")
        return f"Using WandbHyperband: bands {bands}; num_stopped={len(self._stopped)}."
