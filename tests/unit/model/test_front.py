from __future__ import annotations

import itertools
import random

import pytest

from hpctune.common.checks import checked_objectives
from hpctune.errors import UsageError
from hpctune.model.ranking import front


@pytest.mark.parametrize("seed", range(30))
def test_the_front_is_what_no_point_beats(seed: int) -> None:
    rng = random.Random(seed)
    dimensions = rng.choice([1, 2, 2, 3, 4])
    points = [tuple(float(rng.randint(0, 6)) for _ in range(dimensions)) for _ in range(rng.randint(0, 40))]
    modes = [rng.choice(["min", "max"]) for _ in range(dimensions)]

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        pairs = [(a, b) if mode == "min" else (b, a) for a, b, mode in zip(one, other, modes, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    expected = {n for n, point in enumerate(points) if not any(beats(other, point) for other in points)}
    found = front(points, modes)
    assert set(found) == expected
    assert len(found) == len(expected)
    firsts = [points[n][0] * (1 if modes[0] == "min" else -1) for n in found]
    assert all(a <= b for a, b in itertools.pairwise(firsts))


@pytest.mark.parametrize(
    ("metric", "mode", "found"),
    [
        (None, None, ((None, None),)),
        (None, "max", ((None, "max"),)),
        ("loss", "min", (("loss", "min"),)),
        (["loss", "acc"], "min", (("loss", "min"), ("acc", "min"))),
        (("loss", "acc"), ["min", "max"], (("loss", "min"), ("acc", "max"))),
    ],
)
def test_objectives(metric: object, mode: object, found: object) -> None:
    assert checked_objectives(metric, mode) == found


@pytest.mark.parametrize(
    ("metric", "mode", "says"),
    [
        (7, "min", "metric must be the name of a reported value, or a list of names, not 7"),
        ([], "min", "metric must be"),
        (["loss", "loss"], "min", "a list of different names"),
        (["loss", None], "min", "metric must be"),
        ("loss", "least", "mode must be 'min' or 'max', not 'least'"),
        (["loss", "acc"], None, "need a mode"),
        (["loss", "acc"], ["min"] * 3, "has 3 modes for 2 metrics"),
    ],
)
def test_objectives_that_are_none(metric: object, mode: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        checked_objectives(metric, mode)
