"""Statistics of a trial's numbers over all its results."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

from hpctune.model.rows import NOT_SHOWN, flatten

N_STEPS = (5, 10)
"""The lengths of the running averages in ``metric_analysis``: ``last-5-avg``, ``last-10-avg``."""
_NOT_METRICS = NOT_SHOWN | {"trial_id", "experiment_id", "date", "timestamp", "pid", "hostname", "node_ip"}


def as_number(value: object) -> float | None:
    """``value`` as a float if it is a real number of any library; else None."""
    if type(value) is float:
        return value
    if value is None or type(value) is str or not isinstance(value, (float, int, Real)):  # Real is slow to check
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if str(value)[0] != "-" else -math.inf


class MetricStats:
    """Running statistics of every number that one trial reports.

    ``max`` and ``min`` skip NaN. Averages do not, so that they show a metric that became NaN.
    """

    __slots__ = ("_cells", "count")

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._cells: dict[str, _Cell] = {}
        self.count = 0
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one result."""
        self.count += 1
        for key, value in flatten({k: v for k, v in row.items() if k not in _NOT_METRICS}).items():
            number = as_number(value)
            if number is not None:
                cell = self._cells.get(key)
                if cell is None:
                    cell = self._cells[key] = _Cell()
                cell.add(number)

    def analysis(self) -> dict[str, dict[str, float]]:
        """Metric -> ``{"max": ..., "min": ..., "avg": ..., "last": ..., "last-5-avg": ..., "last-10-avg": ...}``."""
        return {key: cell.summary() for key, cell in self._cells.items()}

    def n_steps(self) -> dict[str, dict[str, deque[float]]]:
        """Metric -> the last 5 and the last 10 values."""
        return {k: {str(n): deque(list(c.recent)[-n:], maxlen=n) for n in N_STEPS} for k, c in self._cells.items()}

    def get(self, metric: str) -> dict[str, float] | None:
        """The statistics of one metric; None if it was never reported as a number."""
        cell = self._cells.get(metric)
        return None if cell is None else cell.summary()

    @property
    def metrics(self) -> list[str]:
        """Every metric that was reported as a number."""
        return list(self._cells)


class _Cell:
    """The statistics of one metric."""

    __slots__ = ("count", "max", "min", "recent", "total")

    def __init__(self) -> None:
        self.max = self.min = math.nan
        self.total, self.count = 0.0, 0
        self.recent: deque[float] = deque(maxlen=max(N_STEPS))

    def add(self, value: float) -> None:
        if not value <= self.max and value == value:
            self.max = value
        if not value >= self.min and value == value:
            self.min = value
        self.total += value
        self.count += 1
        self.recent.append(value)

    def summary(self) -> dict[str, float]:
        recent = list(self.recent)
        averages = {f"last-{n}-avg": sum(recent[-n:]) / len(recent[-n:]) for n in N_STEPS}
        return {
            "max": self.max,
            "min": self.min,
            "avg": self.total / self.count,
            "last": recent[-1],
            **averages,
        }
