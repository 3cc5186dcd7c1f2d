"""Compares what a case observed with what it is to observe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

ARGUMENTS = ("AssertionError", "AttributeError", "RuntimeError", "TypeError")
"""What Ray raises for some wrong arguments. Here it is always a UsageError, which is a ValueError."""
_ABSENT = "(absent)"


class Difference(NamedTuple):
    """``where``: the case, and the place in what it observed. ``there``: with Ray; ``here``: with hpctune."""

    where: str
    there: Any
    here: Any


def differences(there: Any, here: Any, where: str) -> Iterator[Difference]:
    """Where ``here`` is not ``there``. An exception may be of a class derived from the expected one."""
    if isinstance(there, dict) and "raises" in there:
        if not _raises(there["raises"], here):
            yield Difference(where, there, here)
    elif isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys((*there, *here)):
            yield from differences(there.get(key, _ABSENT), here.get(key, _ABSENT), f"{where}[{key!r}]")
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for n, (one, two) in enumerate(zip(there, here, strict=True)):
            yield from differences(one, two, f"{where}[{n}]")
    elif not _equal(there, here):
        yield Difference(where, there, here)


def _raises(wanted: list[str], here: Any) -> bool:
    classes = here.get("raises", []) if isinstance(here, dict) else []
    first = next(name for name in wanted if not name.startswith("Ray"))
    return first in classes or (first in ARGUMENTS and "UsageError" in classes)


def _equal(there: Any, here: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (there, here))
    return math.isclose(there, here, rel_tol=1e-9) if numbers else type(there) is type(here) and bool(there == here)


def same_here(wanted: Any, here: Any) -> bool:
    """Whether ``here`` is what a wanted difference says: a value, or the name of an exception's class."""
    if isinstance(here, dict) and "raises" in here:
        return wanted in here["raises"]
    return _equal(wanted, here)
