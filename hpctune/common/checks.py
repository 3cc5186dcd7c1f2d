"""Checks of single values from users. Each raises a UsageError that names the option and its valid values."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from typing import Any, TypeGuard

from hpctune.errors import UsageError

DEFAULT_PORT = 4321
"""The port of a driver's server, as in Ray Tune."""
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgtp]?)(i?)b?\s*", re.IGNORECASE)


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is an int or a float. Booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an int. Booleans are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_flag(name: str, value: object) -> None:
    """Raise UsageError unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be True or False, not {value!r}.")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise UsageError unless ``value`` is one of ``choices``. None among them: the option may be omitted."""
    if value not in choices:
        *first, last = (repr(choice) for choice in choices if choice is not None)
        raise UsageError(f"{name} must be {', '.join(first)} or {last}, not {value!r}.")


def check_directory_name(name: str, value: str, max_bytes: int) -> None:
    """Raise UsageError unless ``value`` can name a directory, in at most ``max_bytes``. Filesystems take 255."""
    if not value or "/" in value or "\0" in value or value in (".", ".."):
        raise UsageError(f"{name} must be a plain directory name, not {value!r}.")
    if (size := len(os.fsencode(value))) > max_bytes:
        raise UsageError(f"{name} may have {max_bytes} bytes, and this one has {size}: {value[:40]!r}... Shorten it.")


def check_mode(mode: object) -> None:
    """Raise UsageError unless ``mode`` is "min" or "max"."""
    check_choice("mode", mode, ("min", "max"))


def check_whole(name: str, value: object, min_value: int, max_value: int | None = None) -> None:
    """Raise UsageError unless ``value`` is a whole number within the bounds."""
    if not is_whole(value) or value < min_value or (max_value is not None and value > max_value):
        bounds = f"of at least {min_value}" if max_value is None else f"from {min_value} to {max_value}"
        raise UsageError(f"{name} must be a whole number {bounds}, not {value!r}.")


def check_positive(name: str, value: object, unit: str = "seconds") -> None:
    """Raise UsageError unless ``value`` is a number above 0. Infinity is one: such a time never passes."""
    if not is_number(value) or not value > 0:
        raise UsageError(f"{name} must be a number of {unit} above 0, not {value!r}.")


def as_whole(name: str, value: object) -> int:
    """``value`` as an int; numpy integers are accepted. Raises UsageError for other values."""
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return int(value.__index__())
    raise UsageError(f"{name} must be a whole number, not {value!r}.")


def as_bytes(name: str, value: object) -> int:
    """A number of bytes, or a text such as ``500 GB``, ``1.5TiB`` or ``20G``, in bytes. Units are powers of 1000, with
    ``i`` of 1024. Raises UsageError for other values, and for less than one byte."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    amount = float("nan")
    if found is not None:
        power = " kmgtp".index(found[2].lower() or " ")
        amount = float(found[1]) * (1024 if found[3] else 1000) ** power
    elif is_number(value) or hasattr(value, "__index__"):
        amount = float(value) if not isinstance(value, bool) else amount
    if not 1 <= amount < math.inf:
        raise UsageError(f"{name} must be a size of at least one byte, such as 500000000 or '500 GB', not {value!r}.")
    return int(amount)


def check_port(port: object) -> int:
    """``port`` as a number. Raises UsageError if it is none."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise UsageError(f"server_port must be a port number, such as {DEFAULT_PORT}, not {port!r}.")
    return port


def checked_objectives(metric: object, mode: object) -> tuple[tuple[str | None, str | None], ...]:
    """Each metric with its mode; ``metric`` and ``mode`` may be one or several, and one mode counts for all metrics.

    Raises UsageError if they are of the wrong kind, or do not fit each other.
    """
    metrics: list[Any] = list(metric) if isinstance(metric, (list, tuple)) else [metric]
    modes: list[Any] = list(mode) if isinstance(mode, (list, tuple)) else [mode]
    for each in metrics:
        if not (isinstance(each, str) and each) and metrics != [None]:
            raise UsageError(f"metric must be the name of a reported value, or a list of names, not {metric!r}.")
    if not metrics or len(set(metrics)) < len(metrics):
        raise UsageError(f"metric must be a list of different names, not {metric!r}.")
    for each in modes:
        check_choice("mode", each, (None, "min", "max"))
    modes = modes * len(metrics) if len(modes) == 1 else modes
    if len(modes) != len(metrics):
        raise UsageError(f"mode={mode!r} has {len(modes)} modes for {len(metrics)} metrics. Give one, or one for each.")
    if len(metrics) > 1 and None in modes:
        raise UsageError(f"Several metrics ({', '.join(metrics)}) need a mode: 'min' or 'max', or one for each.")
    return tuple(zip(metrics, modes, strict=True))
