"""Stoppers for a value that is good enough: for the whole experiment, and for each trial."""

from __future__ import annotations

from typing import Any, ClassVar

from hpctune.common.checks import check_mode, is_number
from hpctune.errors import UsageError
from hpctune.model.rows import number
from hpctune.stopper.stopper import Stopper


class TargetStopper(Stopper):
    """Stops everything when any trial has reached ``value`` of ``metric``.

    Args:
        metric: Which reported value to watch.
        value: The value that is good enough.
        mode: Whether smaller values are better ("min") or greater ones ("max").

    Raises:
        UsageError: if an argument is out of range.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("_reached",)

    def __init__(self, metric: str, value: float, mode: str = "min") -> None:
        check_mode(mode)
        if not is_number(value):
            raise UsageError(f"value must be a number, not {value!r}.")
        self.metric, self.value, self.mode = metric, value, mode
        self._reached = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._reached |= self._is_reached(result)
        return False

    def stop_all(self) -> bool:
        return self._reached

    def _is_reached(self, result: dict[str, Any]) -> bool:
        found = number(result, self.metric)
        return found is not None and (found <= self.value if self.mode == "min" else found >= self.value)


class TrialTargetStopper(TargetStopper):
    """Stops a trial when it has reached ``value`` of ``metric``; the others go on. Arguments and errors are those of
    TargetStopper."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self._is_reached(result)
