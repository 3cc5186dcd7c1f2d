"""Parses time spans with units: ``2h30m``, ``1d 12h``, ``90min``, ``1.5 hours``."""

from __future__ import annotations

import re

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT = r"(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)"
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*{_UNIT}", re.IGNORECASE)
_WHOLE = re.compile(rf"(?:\d+(?:\.\d+)?\s*{_UNIT}\s*)+", re.IGNORECASE)


def with_units(text: str) -> float | None:
    """Seconds of a time span in which each number has its unit; None if ``text`` is not one."""
    if not _WHOLE.fullmatch(text.strip()):
        return None
    return sum(float(amount) * _UNITS[unit[0].lower()] for amount, unit in _PART.findall(text))
