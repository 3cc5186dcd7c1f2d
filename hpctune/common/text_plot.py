"""Curves in text: a line of eight heights, and a picture of dots (Unicode's Braille patterns) with axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a Braille character's dots, by row and column."""


def sparkline(values: Sequence[float], width: int) -> str:
    """``values`` as at most ``width`` characters, each as high as the mean of its share. Only finite values count."""
    known = [value for value in values if math.isfinite(value)]
    if not known or width < 1:
        return ""
    size = min(width, len(known))
    means = [_mean(known[n * len(known) // size : (n + 1) * len(known) // size]) for n in range(size)]
    low, high = min(means), max(means)
    if high == low:
        return _BARS[0] * size
    return "".join(_BARS[round((mean - low) / (high - low) * (len(_BARS) - 1))] for mean in means)


def curve(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """A line through ``points`` as ``height`` lines of at most ``width`` characters, with the ends of both axes.

    Points that are not finite interrupt nothing and are left out. The list is empty if no point is left, or there is no
    room for a picture.
    """
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not known or height < 3:
        return []
    left, right = min(x for x, _ in known), max(x for x, _ in known)
    low, high = min(y for _, y in known), max(y for _, y in known)
    labels = [f"{high:.4g}", f"{low:.4g}"]
    margin = max(map(len, labels)) + 1
    columns, rows = width - margin - 1, height - 1
    if columns < 4:
        return []
    places = [(_place(x, left, right, 2 * columns), _place(high - y, 0.0, high - low, 4 * rows)) for x, y in known]
    cells = [[0] * columns for _ in range(rows)]
    for begin, end in zip([places[0], *places], places, strict=False):
        for across, down in _line(begin, end):
            cells[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
    names = [labels[0], *[""] * (rows - 2), labels[1]] if rows > 1 else labels[:1]
    drawn = [
        f"{name:>{margin}}│{''.join(chr(0x2800 + bits) for bits in row)}".rstrip("\u2800")
        for name, row in zip(names, cells, strict=True)
    ]
    ends = f"{left:g}{f'{right:g}':>{max(columns - len(f'{left:g}'), 0)}}"
    return [*drawn, f"{'':>{margin}} {ends}"]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _place(value: float, low: float, high: float, size: int) -> int:
    return round((value - low) / (high - low) * (size - 1)) if high > low else size // 2


def _line(begin: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """The dots between two, as close as dots can be."""
    steps = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]), 1)
    return [
        (begin[0] + round((end[0] - begin[0]) * n / steps), begin[1] + round((end[1] - begin[1]) * n / steps))
        for n in range(steps + 1)
    ]
