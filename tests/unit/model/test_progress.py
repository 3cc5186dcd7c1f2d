"""How many trials there will be."""

from __future__ import annotations

from typing import Any

import pytest

from hpctune.model.progress import expected_trials

GRID = {"type": "grid_search", "values": [1, 2, 3]}


@pytest.mark.parametrize(
    ("space", "num_samples", "suggested", "added", "expected"),
    [
        ({"x": {"type": "uniform"}}, 20, 3, 0, 20),
        ({"x": GRID, "m": {"y": GRID}}, 2, 3, 0, 18),
        ({"x": [GRID, 1]}, 1, 0, 2, 5),
        ({"x": 1}, -1, 9, 0, None),
        (None, 5, 7, 0, 7),
    ],
)
def test_from_the_space_and_the_samples(
    space: Any, num_samples: int, suggested: int, added: int, expected: int | None
) -> None:
    origin = {"search_space": space, "searcher": "BasicVariantGenerator"}
    assert expected_trials(origin, num_samples, suggested, added) == expected


def test_searchers_take_no_grids() -> None:
    assert expected_trials({"search_space": {"x": GRID}, "searcher": "TPESearch"}, 4, 0, 0) == 4
    assert expected_trials({}, 4, 0, 0) == 4
