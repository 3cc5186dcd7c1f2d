"""Parses times and amounts of memory as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from hpctune.common.checks import is_number
from hpctune.common.durations import with_units
from hpctune.errors import UsageError

MIB = 2**20
_UNITS = {"": MIB, "K": 2**10, "M": MIB, "G": 2**30, "T": 2**40}
_MEMORY = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[KMGT]?)(i?B)?", re.IGNORECASE)
_DAYS = re.compile(r"(?P<d>\d+)-(?P<h>\d+)(:(?P<m>\d+)(:(?P<s>\d+))?)?")
_CLOCK = re.compile(r"((?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+)")
_FOREVER = ("INFINITE", "UNLIMITED")


def minutes(value: object, what: str = "time") -> int | None:
    """The time limit in minutes (rounded up); None for no limit.

    ``value``: minutes as a number, a timedelta, text as Slurm reads it (``"90"``, ``"1:30:00"``, ``"2-12:00"``,
    ``"UNLIMITED"``), or text with units (``"2h30m"``). 0 is no limit, as in Slurm. Raises UsageError for anything else.
    """
    seconds = _seconds(value)
    if seconds is None or seconds < 0:
        raise UsageError(
            f"{what}={value!r} is not a time limit. Give minutes (90), a timedelta, or text such as '1h30m', '1:30:00' "
            f"(hours) or '2-12:00:00' (days-hours)."
        )
    return None if seconds == 0 or math.isinf(seconds) else math.ceil(seconds / 60)


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if is_number(value):
        return float(value) * 60 if math.isfinite(value) else None
    text = str(value).strip() if isinstance(value, str) else ""
    if text.upper() in _FOREVER:
        return math.inf
    if text.isdigit():
        return int(text) * 60.0
    found = _DAYS.fullmatch(text) or _CLOCK.fullmatch(text)
    if found is None:
        return with_units(text)
    parts = {k: int(v) for k, v in found.groupdict().items() if v is not None}
    return float(parts.get("d", 0) * 86400 + parts.get("h", 0) * 3600 + parts.get("m", 0) * 60 + parts.get("s", 0))


def slurm_time(limit_minutes: int) -> str:
    """``limit_minutes`` in Slurm's notation: ``1-02:30:00``."""
    days, rest = divmod(limit_minutes, 1440)
    clock = f"{rest // 60:02d}:{rest % 60:02d}:00"
    return f"{days}-{clock}" if days else clock


def memory_bytes(value: object, what: str = "mem") -> int:
    """Bytes of ``value``: a number (bytes) or text such as ``"16G"``, ``"512M"``, ``"1.5 GiB"``.

    Bare digits in text are MiB, as Slurm reads them. Raises UsageError for anything else and for negative amounts.
    """
    if is_number(value) and 0 <= value < math.inf:
        return math.ceil(value)
    found = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f"{what}={value!r} is not an amount of memory. Give bytes, or text such as '16G' or '512M'.")
    return math.ceil(float(found["number"]) * _UNITS[found["unit"].upper()])


def mebibytes(amount_bytes: int) -> int:
    """``amount_bytes`` in MiB, rounded up, so that a job never gets less than was asked for."""
    return -(-amount_bytes // MIB)
