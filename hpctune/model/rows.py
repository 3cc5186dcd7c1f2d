"""Reading result rows: nested dicts whose values are also named by flat keys such as ``eval/loss``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = frozenset({float, int, str, bool, type(None), list})


class Row(dict[str, Any]):
    """A result as it was read, with its text in JSON, which nobody needs to make again. It must not be changed; copied
    and pickled it is a plain dict."""

    __slots__ = ("shape", "text")

    def __init__(self, row: Mapping[str, Any], text: str) -> None:
        super().__init__(row)
        self.text = text
        self.shape: Shape | None = None
        """What :func:`shape_of` has found."""

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


Shape = tuple[tuple[str, ...], tuple[type, ...]]


def shape_of(row: Mapping[str, Any]) -> Shape:
    """The keys of ``row``, in order, and the types of their values. Most rows of a trial have one shape; what was found
    out about one of them holds for all."""
    if type(row) is not Row:
        return tuple(row), tuple(map(type, row.values()))
    if row.shape is None:
        row.shape = tuple(row), tuple(map(type, row.values()))
    return row.shape


def copied(value: Any) -> Any:
    """``value`` with dicts and lists of its own."""
    if isinstance(value, Mapping):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list):
        return [copied(v) for v in value]
    return value


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
