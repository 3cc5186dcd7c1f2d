"""Reading result rows: nested dicts whose values are also named by flat keys such as ``eval/loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset({float, int, str, bool, type(None), list})


def lookup(row: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value under ``key``, taken literally first, then as a path with ``/``."""
    if key in row:
        return row[key]
    value: Any = row
    for part in key.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def number(row: Mapping[str, Any], key: str) -> float | None:
    """The value under ``key`` as a float; None where it is missing or no number."""
    value = lookup(row, key)
    return float(value) if isinstance(value, (int, float)) else None


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one level with keys joined by ``/``; empty dicts vanish, lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        if type(value) in _PLAIN:  # most values are: asking whether they are mappings takes longer than all else
            flat[name] = value
        elif isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}/"))
        else:
            flat[name] = value
    return flat
