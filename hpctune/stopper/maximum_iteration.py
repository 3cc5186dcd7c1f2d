"""A stopper that counts results."""

from __future__ import annotations

from typing import Any, ClassVar

from hpctune.common.checks import is_whole
from hpctune.errors import UsageError
from hpctune.stopper.stopper import Stopper


class MaximumIterationStopper(Stopper):
    """Stops each trial after ``max_iter`` results.

    Raises:
        UsageError: if ``max_iter`` is not a positive integer.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("_iterations",)

    def __init__(self, max_iter: int) -> None:
        if not is_whole(max_iter) or max_iter < 1:
            raise UsageError(f"max_iter must be an integer of 1 or more, not {max_iter!r}.")
        self._max_iter = max_iter
        self._iterations: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._iterations[trial_id] = self._iterations.get(trial_id, 0) + 1
        return self._iterations[trial_id] >= self._max_iter

    def stop_all(self) -> bool:
        return False
