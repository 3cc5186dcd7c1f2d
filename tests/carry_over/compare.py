"""Compares what a case observed with what it is to observe."""

from __future__ import annotations

import math
from typing import Any

ARGUMENTS = ("AssertionError", "AttributeError", "RuntimeError", "TypeError")
"""What Ray raises for some wrong arguments. Here it is always a UsageError, which is a ValueError."""


def differences(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where ``found`` is not ``expected``, in words. An exception may be of a class derived from the expected one."""
    if isinstance(expected, dict) and "raises" in expected:
        classes = found.get("raises", []) if isinstance(found, dict) else []
        wanted = next(name for name in expected["raises"] if not name.startswith("Ray"))
        if wanted in ARGUMENTS and "UsageError" in classes:
            return []
        return [] if wanted in classes else [f"{where}: raises {wanted} there, here {found!r}"]
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*expected, *(key for key in found if key not in expected)]
        absent = object()
        pairs = [(key, expected.get(key, absent), found.get(key, absent)) for key in keys]
        return [
            line
            for key, one, two in pairs
            for line in (
                differences(one, two, f"{where}[{key!r}]")
                if absent not in (one, two)
                else [f"{where}[{key!r}]: only {'here' if one is absent else 'there'}"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs_of = enumerate(zip(expected, found, strict=True))
        return [line for n, (one, two) in pairs_of for line in differences(one, two, f"{where}[{n}]")]
    if isinstance(expected, float) and isinstance(found, int | float) and math.isclose(expected, found, rel_tol=1e-9):
        return []
    same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
    return [] if same else [f"{where}: {expected!r} there, here {found!r}"]
