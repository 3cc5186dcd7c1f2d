"""Access to result rows: nested dicts whose values also have flat keys such as ``eval/loss``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpctune.common.text import shorten
from hpctune.errors import MetricError

_MISSING = object()
_MAX_SHOWN = 60
"""Characters of a value in a message."""
_NUMERIC = re.compile(r"\s*[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|inf(inity)?)\s*", re.ASCII | re.IGNORECASE)
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


STATED = "stated_config"
"""The key of a result that names the entries of its ``config`` which the trial has stated itself."""
PRIVATE = "_hpctune"
"""The entry of a configuration, or of a result, that is for the trial's program alone. Nothing shows it."""
NOT_SHOWN = frozenset({"config", STATED, PRIVATE})
"""Keys of a result that no table has as columns."""
Shape = tuple[tuple[str, ...], tuple[type, ...]]
AUTO_FILLED = frozenset(
    {
        *("config", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname", "node_ip", "pid"),
        *("iterations_since_restore", "time_since_restore", "time_this_iter_s", "time_total_s", "timestamp"),
        *("timesteps_since_restore", "timesteps_total", "training_iteration", "trial_id", "job_id", "attempt"),
        *("node_list", "should_checkpoint", "warmup_time", "checkpoint_dir_name", STATED, PRIVATE),
    }
)
"""Keys of a result that are filled in, not reported."""
_SHOWN_OF_OURS = ("training_iteration", "time_total_s")


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
    """The value of ``key``: first as a literal key, then as a path with ``/``, whose parts may be keys with a ``/``."""
    if key in row:
        return row[key]
    parts = key.split("/")
    for length in range(len(parts) - 1, 0, -1):
        inner = row.get("/".join(parts[:length]))
        if isinstance(inner, Mapping):
            found = lookup(inner, "/".join(parts[length:]), _MISSING)
            if found is not _MISSING:
                return found
    return default


def as_metric(value: object) -> float | None:
    """``value`` as a number that can be optimized; None if it is none.

    Besides numbers: a list of one number, and text that is a number.
    """
    if type(value) is float:
        return value
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, list) and len(value) == 1:
        return as_metric(value[0])
    return float(value) if isinstance(value, str) and _NUMERIC.fullmatch(value) else None


def number(row: Mapping[str, Any], key: str) -> float | None:
    """The value of ``key`` as a number; None if it is missing or no number. Every use of a metric reads it by this."""
    return as_metric(lookup(row, key))


def metric_error(row: Mapping[str, Any], key: str, where: str) -> MetricError:
    """The error for a result without the number ``key``. It says if the key is missing, or what it holds instead."""
    found = lookup(row, key, _MISSING)
    return missing_metric(key, flatten(row), where, "" if found is _MISSING else shorten(repr(found), _MAX_SHOWN))


def missing_metric(key: str, reported: Iterable[str], where: str, value: str = "") -> MetricError:
    """The error for a metric that is none of the ``reported`` keys: the user's own come first, few of ours follow."""
    known = list(reported)
    own = [k for k in known if k.split("/")[0] not in AUTO_FILLED]
    return MetricError(key, [*own, *(k for k in _SHOWN_OF_OURS if k in known)], where, value)


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
