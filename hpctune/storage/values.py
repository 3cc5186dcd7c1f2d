"""Python values as JSON text: exactly where JSON can say them, pickled inside it where it cannot."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

_PICKLE = "__pickle__"


def encode(value: Any) -> Any:
    """A JSON-able form of ``value`` from which :func:`decode` gives an equal value of the same types."""
    if _exact(value):
        return value
    import cloudpickle

    return {_PICKLE: base64.b64encode(cloudpickle.dumps(value)).decode()}


def decode(data: Any) -> Any:
    """Read what :func:`encode` made. Pickles are loaded: give it only data of a trusted owner."""
    if isinstance(data, Mapping) and _PICKLE in data:
        import pickle

        return pickle.loads(base64.b64decode(data[_PICKLE]))
    return data


def _exact(value: Any) -> bool:
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return True
    if kind is list:
        return all(_exact(v) for v in value)
    if kind is dict:
        return _PICKLE not in value and all(type(k) is str and _exact(v) for k, v in value.items())
    return False


def plain(value: Any) -> Any:
    """A JSON-able form of ``value`` for people and other programs: numpy scalars and arrays become numbers and
    lists, anything else that JSON cannot say becomes its ``str``. Not reversible."""
    if _exact(value):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def dumps(value: Any) -> str:
    """One line of JSON, for values that :func:`plain` accepts."""
    try:
        return json.dumps(value, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(plain(value), separators=(",", ":"))
