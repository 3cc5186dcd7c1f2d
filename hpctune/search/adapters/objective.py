"""Metrics as losses: what is to be small, whatever the mode, and None if it is no finite number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Loss = float | list[float]
"""What is to be small: the metric, or minus the metric for mode "max"; a list for several metrics."""


def loss_of(value: Any, mode: str | Sequence[str]) -> Loss | None:
    """Return the loss for a metric, or for as many as there are modes; None if one is missing or not finite."""
    if isinstance(mode, str):
        return _signed(value, mode)
    losses = [_signed(each, own) for each, own in zip(value, mode, strict=True)]
    found = [loss for loss in losses if loss is not None]
    return found if len(found) == len(losses) else None


def _signed(value: Any, mode: str) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return number if mode == "min" else -number
