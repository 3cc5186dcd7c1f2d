"""Access to result rows: nested dicts whose values also have flat keys such as ``eval/loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset({float, int, str, bool, type(None), list})


class Row(dict[str, Any]):
    """A result as it was read, with its JSON text, so that it need not be encoded again.

    It must not be changed. Copies and pickles of it are plain dicts.
    """

    __slots__ = ("shape", "text")

    def __init__(self, row: Mapping[str, Any], text: str) -> None:
        super().__init__(row)
        self.text = text
        self.shape: Shape | None = None
        """The result of :func:`shape_of`, once computed."""

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


Shape = tuple[tuple[str, ...], tuple[type, ...]]


def shape_of(row: Mapping[str, Any]) -> Shape:
    """The keys of ``row``, in order, and the types of their values.

    Most rows of a trial have the same shape, so what is known about one of them holds for all.
    """
    if type(row) is not Row:
        return tuple(row), tuple(map(type, row.values()))
    if row.shape is None:
        row.shape = tuple(row), tuple(map(type, row.values()))
    return row.shape


def copied(value: Any) -> Any:
    """A copy of ``value`` with new dicts and lists."""
    if isinstance(value, Mapping):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copied(v) for v in value]
    return value


def lookup(row: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """The value of ``key``: first as a literal key, then as a path with ``/``."""
    if key in row:
        return row[key]
    value: Any = row
    for part in key.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def number(row: Mapping[str, Any], key: str) -> float | None:
    """The value of ``key`` as a float; None if it is missing or not a number."""
    value = lookup(row, key)
    return float(value) if isinstance(value, (int, float)) else None


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one level with keys joined by ``/``. Empty dicts are dropped; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        name = f"{prefix}{key}"
        if type(value) in _PLAIN:  # true for most values, and much faster than the check for a Mapping
            flat[name] = value
        elif isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}/"))
        else:
            flat[name] = value
    return flat
