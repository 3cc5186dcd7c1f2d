"""A stopper for experiments that find nothing better any more."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from hpctune.common.checks import check_mode, is_number, is_whole
from hpctune.errors import UsageError
from hpctune.stopper.plateau import metric_value, standard_deviation
from hpctune.stopper.stopper import Stopper


class ExperimentPlateauStopper(Stopper):
    """Stops everything when the best ``top`` results of the experiment are all alike.

    Args:
        metric: Which reported value to watch. Values that are no finite number do not count.
        std: The standard deviation of the best results up to which they are alike.
        top: How many of the best results to look at.
        mode: Whether the best results are the smallest ("min") or the largest ("max").
        patience: How many results in a row, after the first one, the best must stay alike.

    Raises:
        UsageError: if an argument is out of range.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("_top_values", "_iterations")

    def __init__(self, metric: str, std: float = 0.001, top: int = 10, mode: str = "min", patience: int = 0) -> None:
        check_mode(mode)
        if not is_whole(top) or top <= 1:
            raise UsageError(f"top must be an integer greater than 1, not {top!r}.")
        if not is_whole(patience) or patience < 0:
            raise UsageError(f"patience must be an integer of 0 or more, not {patience!r}.")
        if not is_number(std) or not std > 0:
            raise UsageError(f"std must be a number greater than 0, not {std!r}.")
        self._metric, self._std, self._top, self._mode, self._patience = metric, std, top, mode, patience
        self._top_values: list[float] = []
        self._iterations = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = metric_value(result, self._metric)
        if math.isfinite(value):
            self._top_values = sorted([*self._top_values, value], reverse=self._mode == "max")[: self._top]
        self._iterations = self._iterations + 1 if self.has_plateaued() else 0
        return self.stop_all()

    def has_plateaued(self) -> bool:
        """Return whether the best results are all there and all alike."""
        return len(self._top_values) == self._top and standard_deviation(self._top_values) <= self._std

    def stop_all(self) -> bool:
        return self.has_plateaued() and self._iterations >= self._patience
