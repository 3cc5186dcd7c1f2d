"""Checks of single values that users gave. Each raises a UsageError that names the option and what it may be."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TypeGuard

from hpctune.errors import UsageError


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is an int or a float; booleans are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an int; booleans are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_flag(name: str, value: object) -> None:
    """``value`` must be True or False."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {value!r}.")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """``value`` must be one of ``choices``; None among them means that the option may be left out."""
    if value not in choices:
        *first, last = (repr(choice) for choice in choices if choice is not None)
        raise UsageError(f"{name} must be {', '.join(first)} or {last}, not {value!r}.")


def check_mode(mode: object) -> None:
    """``mode`` must say which values of the metric are better."""
    check_choice("mode", mode, ("min", "max"))


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """``value`` must be a whole number within the bounds."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UsageError(f"{name} must be a whole number {bounds}, not {value!r}.")


def check_positive(name: str, value: object, unit: str = "seconds") -> None:
    """``value`` must be a number above 0."""
    if not is_number(value) or not 0 < value < math.inf:
        raise UsageError(f"{name} must be a number of {unit} above 0, not {value!r}.")


def as_whole(name: str, value: object) -> int:
    """``value`` as an int; numpy's integers are ints, too."""
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return int(value.__index__())
    raise UsageError(f"{name} must be a whole number, not {value!r}.")
