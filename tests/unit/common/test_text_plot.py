"""Curves in text."""

from __future__ import annotations

import math

import pytest

from hpctune.common.text_plot import curve, sparkline


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([7, 0], 10) == "█▁"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([1, math.nan, math.inf, 2], 9) == "▁█"


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_no_sparkline(values: list[float]) -> None:
    assert sparkline(values, 5) == ""
    assert sparkline([1.0], 0) == ""


def test_equal_values_are_flat() -> None:
    assert sparkline([3, 3, 3], 3) == "▁▁▁"


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """The places of the dots, from the left and from the top."""
    bits = {0: (0, 0), 1: (0, 1), 2: (0, 2), 3: (1, 0), 4: (1, 1), 5: (1, 2), 6: (0, 3), 7: (1, 3)}
    found = set()
    for down, line in enumerate(lines[:-1]):
        for across, character in enumerate(line.split("│")[1]):
            code = ord(character) - 0x2800
            found |= {(2 * across + x, 4 * down + y) for bit, (x, y) in bits.items() if code >> bit & 1}
    return found


def test_a_curve_goes_from_corner_to_corner() -> None:
    lines = curve([(1, 0.0), (9, 2.0)], 25, 6)
    assert len(lines) == 6
    assert max(map(len, lines)) <= 25
    assert lines[0].split("│")[0].strip() == "2"
    assert lines[-2].split("│")[0].strip() == "0"
    assert lines[-1].split() == ["1", "9"]
    found = dots(lines)
    columns, rows = 2 * (25 - 2 - 1), 4 * 5
    assert (0, rows - 1) in found
    assert (columns - 1, 0) in found
    across = sorted(x for x, _ in found)
    assert across == list(range(columns)), "one dot in each column of dots, without a gap"


def test_what_is_not_finite_is_left_out() -> None:
    assert curve([(1, 1.0), (2, math.nan), (3, 2.0), (math.inf, 1)], 20, 5) == curve([(1, 1.0), (3, 2.0)], 20, 5)


@pytest.mark.parametrize(
    ("points", "width", "height"), [([], 20, 5), ([(1, math.nan)], 20, 5), ([(1, 1)], 20, 2), ([(1, 1)], 5, 5)]
)
def test_no_curve(points: list[tuple[float, float]], width: int, height: int) -> None:
    assert curve(points, width, height) == []


def test_one_point_and_a_flat_line() -> None:
    assert len(dots(curve([(1, 1)], 20, 5))) == 1
    flat = dots(curve([(1, 1), (5, 1)], 20, 5))
    assert len({y for _, y in flat}) == 1
