"""Slurm's notation for several nodes: ``a1,b[1-3,07],c[1-2]x[1-4]``. Pure."""

from __future__ import annotations

import re

_SEPARATOR = re.compile(r",(?![^\[]*\])")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def count(text: str) -> int | None:
    """How many nodes ``text`` names. None if it is no such list (a file's name, for instance)."""
    if "/" in text:
        return None
    names: set[str] = set()
    total = 0
    for part in (p.strip() for p in _SEPARATOR.split(text)):
        if not part or part in names:
            continue
        names.add(part)
        number = 1
        for inside in _BRACKETS.findall(part):
            ranges = [_RANGE.fullmatch(r.strip()) for r in inside.split(",")]
            if None in ranges:
                return None
            number *= sum(int(r[2] or r[1]) - int(r[1]) + 1 for r in ranges if r is not None)
        total += number
    return total
