"""Small helper functions of ``ray.tune.utils`` of 1.x that scripts import."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from hpctune.storage import values


class SafeFallbackEncoder(json.JSONEncoder):
    """Writes every value: ``json.dumps(value, cls=SafeFallbackEncoder)``."""

    def __init__(self, nan_str: str = "null", **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def default(self, value: Any) -> Any:
        """What JSON does not know, as in results."""
        return values.plain(value)


def env_integer(key: str, default: Any) -> Any:
    """The integer in a variable of the environment. Raises ValueError for another text."""
    return int(os.environ[key]) if key in os.environ else default


def is_nan_or_inf(value: float) -> bool:
    """Whether a number is not finite."""
    return not math.isfinite(value)
