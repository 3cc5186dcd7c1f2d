"""Short text for a configuration, safe as part of a file name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

_MAX_VALUE, _MAX_TAG = 32, 120


def format_vars(resolved_vars: Mapping[Any, Any]) -> str:
    """Return ``lr=0.01,momentum=0.9`` for the values that vary, sorted by name.

    Each is named by the last part of its key (``layers/0`` and the like keep the name before the number); by the
    whole key if that would be ambiguous. Floats have four significant digits. The text holds letters, digits
    and ``_-.=,+`` only, and at most 120 characters.

    Args:
        resolved_vars: Values by ``path/key`` or by the tuple of keys.
    """
    parts = {key: _parts(key) for key in resolved_vars}
    short = {key: _short_name(pieces) for key, pieces in parts.items()}
    uses = Counter(short.values())
    named = {
        (short[key] if uses[short[key]] == 1 else _clean("_".join(parts[key]))): value
        for key, value in resolved_vars.items()
    }
    return ",".join(f"{name}={_format_value(value)}" for name, value in sorted(named.items()))[:_MAX_TAG]


def experiment_tag(index: int, resolved_vars: Mapping[Any, Any]) -> str:
    """Return ``3_lr=0.01,momentum=0.9`` for trial 3, or just ``3`` if nothing varies."""
    text = format_vars(resolved_vars)
    return f"{index}_{text}" if text else str(index)


def _parts(key: Any) -> list[str]:
    return [str(piece) for piece in key] if isinstance(key, tuple) else str(key).split("/")


def _short_name(pieces: list[str]) -> str:
    start = len(pieces) - 1
    while start > 0 and pieces[start].isdigit():
        start -= 1
    return _clean("_".join(pieces[start:]))


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if callable(value) and hasattr(value, "__name__"):
        value = value.__name__
    return _clean(str(value))[:_MAX_VALUE]


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.\-]+", "_", text).strip("_")
