"""What every scheduler that compares trials needs: a metric with a direction, and an attribute that measures time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from hpctune.common.checks import check_mode, is_number, is_whole
from hpctune.common.kept_state import before_use
from hpctune.errors import UsageError
from hpctune.model.rows import metric_error, number
from hpctune.model.trial import Trial
from hpctune.schedulers.base import FIFOScheduler

ITERATION = "training_iteration"
RETURNED = "_metric"
"""The name of a value that is reported without one."""
WORST = float("-inf")

_Self = TypeVar("_Self", bound="MetricScheduler")


class MetricScheduler(FIFOScheduler):
    """Base of schedulers that compare trials by a metric. Scores are the metric turned so that greater is better.

    Metric and mode may come from the experiment (``TuneConfig``, ``tune.run``) instead of the arguments.
    ``reward_attr="NAME"``, of Ray Tune 0.x, means ``metric="NAME", mode="max"``.
    """

    def __init__(self, time_attr: str, metric: str | None, mode: str | None, reward_attr: str | None = None) -> None:
        if reward_attr is not None:
            if metric not in (None, reward_attr) or mode not in (None, "max"):
                raise UsageError(
                    f"reward_attr={reward_attr!r} contradicts metric={metric!r}, mode={mode!r}. Leave it out."
                )
            metric, mode = _attribute("reward_attr", reward_attr), "max"
        self.time_attr = _attribute("time_attr", time_attr)
        self.metric = None if metric is None else _attribute("metric", metric)
        self.mode = checked_mode(mode)
        self._reset()

    def _reset(self) -> None:
        """Forget every trial. Subclasses add what they remember."""
        self._seen_time = self._seen_metric = False

    def fresh(self: _Self) -> _Self:
        """The same scheduler with no memory of any trial: what each experiment gets."""
        made = copy.deepcopy(before_use(self))
        made._reset()
        return made

    # -- what is optimized ----------------------------------------------------------------------------------------

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Take the experiment's metric and mode; False, and nothing taken, if they contradict the scheduler's."""
        if (self.metric and metric and self.metric != metric) or (self.mode and mode and self.mode != mode):
            return False
        self.metric, self.mode = metric or self.metric, checked_mode(mode) or self.mode
        return True

    def check_search_properties(self) -> None:
        """Raise UsageError if the scheduler does not know what to optimize. A mode alone is for returned values."""
        if self.metric is None and self.mode is not None:
            self.metric = RETURNED
        lacks = [name for name in ("metric", "mode") if getattr(self, name) is None]
        if lacks:
            given = ", ".join(f"{name}=..." for name in lacks)
            raise UsageError(
                f"{type(self).__name__} has no {' and no '.join(lacks)}. Give {given} to the scheduler, or to "
                "tune.run or TuneConfig."
            )

    # -- what trials say ------------------------------------------------------------------------------------------

    def on_trial_add(self, trial: Trial) -> None:
        """Be sure of what to optimize."""
        self.check_search_properties()

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """Raise MetricError when a trial ends well and no trial has ever reported what is needed to decide.

        The last result of a trial has come as a result before: it is not counted again.
        """
        if not row:
            return
        if not self._seen_time:
            raise metric_error(row, self.time_attr, f"The time_attr of {type(self).__name__}")
        if not self._seen_metric:
            raise metric_error(row, str(self.metric), f"The metric of {type(self).__name__}")

    def _read(self, row: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Time and score of a result, each None if the result does not have it. NaN is the worst of scores."""
        assert self.metric is not None
        time, value = number(row, self.time_attr), number(row, self.metric)
        if time != time:
            time = None
        self._seen_time |= time is not None
        self._seen_metric |= value is not None
        if value is None:
            return time, None
        score = value if self.mode == "max" else -value
        return time, score if score == score else WORST

    def _metric_value(self, score: float) -> float:
        """The metric of a score, for messages."""
        return score if self.mode == "max" else -score


def checked_mode(mode: str | None) -> str | None:
    """``mode``. Raises UsageError if it is none."""
    if mode is not None:
        check_mode(mode)
    return mode


def _attribute(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{name} must be the name of a reported value, not {value!r}.")
    return value


def positive(name: str, value: object, *, above: float = 0.0, whole: bool = False, least: bool = False) -> None:
    """Raise UsageError unless ``value`` is a (``whole``) number greater than ``above``; ``least``: or equal to it."""
    kind = "a whole number" if whole else "a number"
    right = is_number(value) and (is_whole(value) or not whole) and (value > above or (least and value == above))
    if not right:
        relation = "of at least" if least else "greater than"
        raise UsageError(f"{name} must be {kind} {relation} {above:g}, not {value!r}.")
