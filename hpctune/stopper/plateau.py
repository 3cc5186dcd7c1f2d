"""What the plateau stoppers share: reading a metric, and how far values are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.model.rows import metric_error, number


def metric_value(result: Mapping[str, Any], metric: str) -> float:
    """Return the metric of a result. Raises MetricError if the result lacks it."""
    value = number(result, metric)
    if value is None:
        raise metric_error(result, metric, "Stopper metric")
    return value


def standard_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the values themselves (not an estimate from a sample); NaN if one is NaN."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
