"""One result as readable text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hpctune.model.rows import NOT_SHOWN
from hpctune.storage import values


def pretty_print(result: Mapping[str, Any], exclude: Iterable[str] | None = None) -> str:
    """``result`` as indented ``key: value`` lines, sorted; without the configuration and without None values."""
    left_out = {*NOT_SHOWN, "hist_stats", *(exclude or ())}
    shown = {k: v for k, v in result.items() if v is not None and k not in left_out}
    return "".join(f"{line}\n" for line in _lines(values.plain(shown), ""))


def _lines(mapping: Mapping[str, Any], indent: str) -> Iterable[str]:
    for key in sorted(mapping):
        value = mapping[key]
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        else:
            text = value if isinstance(value, str) and value and "\n" not in value else values.dumps(value)
            yield f"{indent}{key}: {text}"
