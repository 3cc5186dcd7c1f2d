"""What a user's ``stop=`` means: thresholds that the worker checks itself, and a Stopper that the driver asks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any, TypeAlias

from hpctune.errors import UsageError
from hpctune.model.rows import missing_metric
from hpctune.stopper.function_stopper import FunctionStopper
from hpctune.stopper.stopper import CombinedStopper, Stopper

Criteria: TypeAlias = dict[str, float | bool]
"""Thresholds by flat key (``eval/loss``): a number is reached from below, a bool by being equal."""

_ACCEPTED = (
    'stop= takes a dict of thresholds such as {"training_iteration": 10}, an instance of Stopper, '
    "a function (trial_id, result) -> bool, or a list of these"
)


def split_stop(stop: object) -> tuple[Criteria, Stopper | None]:
    """Return the part of ``stop`` that a worker can evaluate itself, and the rest as one Stopper (None: no rest).

    In a list, whatever is reached first stops; of two thresholds for the same key that is the lower one.

    Raises:
        UsageError: if ``stop`` is nothing that is accepted, or a threshold is no number or bool.
    """
    criteria: Criteria = {}
    stoppers: list[Stopper] = []
    for part in stop if isinstance(stop, (list, tuple)) else [stop]:
        if part is None:
            continue
        if isinstance(part, Mapping):
            for key, threshold in _thresholds(part):
                criteria[key] = _either(key, criteria[key], threshold) if key in criteria else threshold
        elif isinstance(part, Stopper):
            stoppers.append(part)
        elif callable(part) and not inspect.isclass(part):
            stoppers.append(FunctionStopper(part))
        else:
            raise UsageError(f"{_ACCEPTED}, not {part!r}.")
    if len(stoppers) > 1:
        return criteria, CombinedStopper(*stoppers)
    return criteria, stoppers[0] if stoppers else None


def reached(criteria: Mapping[str, float | bool], flat_result: Mapping[str, Any]) -> str | None:
    """Return the first criterion that a result meets, or None.

    Raises:
        MetricError: if a criterion's key is not in the result.
        UsageError: if the value reported for a threshold is no number.
    """
    for key in criteria:
        if key not in flat_result:
            raise missing_metric(key, flat_result, "Stop criterion")
    return next((key for key, threshold in criteria.items() if _met(key, threshold, flat_result[key])), None)


def _met(key: str, threshold: float | bool, value: Any) -> bool:
    if isinstance(threshold, bool):
        return bool(value) is threshold
    try:
        if not isinstance(value, str):
            return float(value) >= threshold
    except (TypeError, ValueError):
        pass
    raise UsageError(f"The stop criterion '{key}' needs a number to compare with {threshold}, but got {value!r}.")


def _thresholds(stop: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float | bool]]:
    """Yield (flat key, threshold) for every entry of a dict, also of those within it."""
    for name, value in stop.items():
        key = f"{prefix}{name}"
        if not isinstance(name, str):
            raise UsageError(f"A key of stop= must be the name of a reported value, not {name!r}.")
        if isinstance(value, Mapping):
            yield from _thresholds(value, f"{key}/")
            continue
        value = value.item() if hasattr(value, "item") else value  # numpy
        if not isinstance(value, (bool, Real)) or math.isnan(value):
            raise UsageError(
                f"The stop criterion '{key}' must be a number (reached from below) or a bool, not {value!r}. "
                f"{_ACCEPTED}."
            )
        yield key, value if isinstance(value, (bool, int)) else float(value)


def _either(key: str, one: float | bool, other: float | bool) -> float | bool:
    if isinstance(one, bool) or isinstance(other, bool):
        if one is other:
            return one
        raise UsageError(f"stop= has both {one!r} and {other!r} for '{key}'. Keep one of them.")
    return min(one, other)
