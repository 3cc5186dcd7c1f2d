"""Values as JSON for other programs."""

from __future__ import annotations

import json
import math
from typing import Any

from hpctune.storage import values


def as_json(value: object, *, indent: int | None = 2) -> str:
    """``value`` as JSON that every program can read: numbers that are not finite become null."""
    return json.dumps(_finite(values.plain(value)), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
