"""A stopper for trials that have converged."""

from __future__ import annotations

from typing import Any, ClassVar

from hpctune.common.checks import check_mode
from hpctune.errors import UsageError
from hpctune.stopper.plateau import metric_value, standard_deviation
from hpctune.stopper.stopper import Stopper


class TrialPlateauStopper(Stopper):
    """Stops a trial when its last results are all alike.

    Args:
        metric: Which reported value to watch.
        std: The standard deviation of the last results below which the trial is stopped.
        num_results: How many of the last results to look at (with fewer, a trial goes on).
        grace_period: How many results a trial may report in any case.
        metric_threshold: Stop only trials that are at least as good as this.
        mode: Whether good is small ("min") or large ("max"); needed with ``metric_threshold``.

    Raises:
        UsageError: if ``num_results`` is not positive, or the threshold has no mode.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("_last_values", "_iterations")

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        if num_results < 1:
            raise UsageError(f"num_results must be 1 or more, not {num_results!r}.")
        if metric_threshold is not None:
            check_mode(mode)
        self._metric, self._std, self._num_results = metric, std, num_results
        self._grace_period, self._metric_threshold, self._mode = grace_period, metric_threshold, mode
        self._last_values: dict[str, list[float]] = {}
        self._iterations: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = metric_value(result, self._metric)
        values = [*self._last_values.get(trial_id, []), value][-self._num_results :]
        self._last_values[trial_id] = values
        self._iterations[trial_id] = self._iterations.get(trial_id, 0) + 1
        if self._iterations[trial_id] < self._grace_period or not self._good_enough(value):
            return False
        return len(values) == self._num_results and standard_deviation(values) < self._std

    def _good_enough(self, value: float) -> bool:
        if self._metric_threshold is None:
            return True
        return value <= self._metric_threshold if self._mode == "min" else value >= self._metric_threshold

    def stop_all(self) -> bool:
        return False
