"""The rule for points: keys, values, what is left open."""

from __future__ import annotations

from typing import Any

import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError
from hpctune.space.points import narrowed, read_point

SPACE: dict[str, Any] = {
    "x": s.quniform(0, 1, 0.25),
    "n": s.randint(1, 5),
    "g": s.grid_search(["a", "b"]),
    "m": {"d": s.uniform(0, 1), "k": 3},
    "l": [s.randint(0, 3), 7],
    "c": s.choice([{"kind": "svm", "C": s.uniform(0, 10), "in": {"p": s.choice([1, 2])}}, {"kind": "rf"}, "none"]),
    "f": s.sample_from(lambda spec: 1),
    "const": {"u": [1, 2]},
    "a/b": s.uniform(0, 1),
}


@pytest.mark.parametrize(
    ("point", "read"),
    [
        ({}, {}),
        ({"x": 0.25, "n": 2.0, "g": "b"}, {"x": 0.25, "n": 2, "g": "b"}),
        ({"m/d": 0.5}, {"m": {"d": 0.5}}),
        ({"m": {"k": 3}, "m/d": 0.5}, {"m": {"k": 3, "d": 0.5}}),
        ({"l/0": 2}, {"l": {0: 2}}),
        ({"l": (2, 7)}, {"l": [2, 7]}),
        ({"c": {"kind": "svm", "C": 1}}, {"c": {"kind": "svm", "C": 1.0}}),
        ({"c/kind": "svm", "c/in/p": 2}, {"c": {"kind": "svm", "in": {"p": 2}}}),
        ({"c": {"kind": "rf"}}, {"c": {"kind": "rf"}}),
        ({"c": "none"}, {"c": "none"}),
        ({"f": "any"}, {"f": "any"}),
        ({"const/u": (1, 2)}, {"const": {"u": (1, 2)}}),
        ({"a/b": 0.5}, {"a/b": 0.5}),
    ],
)
def test_what_a_point_sets(point: dict[str, Any], read: dict[str, Any]) -> None:
    assert read_point(SPACE, point, "it") == read


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (5, "it must be a dict of parameters, not 5"),
        ({"z": 1}, "it sets 'z', which is no parameter of the search space. It has: 'x', 'n', 'g', 'm/d', 'm/k'"),
        ({"m/z": 1}, "it sets 'm/z', which is no parameter of the search space. It has: 'm/d', 'm/k'."),
        ({"m": {"d": 0.5}, "m/d": 0.6}, "it sets 'm/d' twice"),
        ({"m": 4}, "it sets 'm' to 4, but in the search space it is a dict with 'd', 'k'"),
        ({"m/k": 4}, "it sets 'm/k' to 4, but in the search space it is the constant 3"),
        ({"const": {"u": [1, 3]}}, "it sets 'const/u' to [1, 3], but in the search space it is the constant [1, 2]"),
        ({"x": 0.3}, "it sets 'x' to 0.3, which is not in"),
        ({"x": True}, "it sets 'x' to True, which is not in"),
        ({"x": s.uniform(0, 1)}, "it sets 'x' to"),
        ({"n": 5}, "it sets 'n' to 5, which is not in"),
        ({"n": 2.5}, "it sets 'n' to 2.5, which is not in"),
        ({"g": "c"}, "it sets 'g' to 'c', which is none of ['a', 'b']"),
        ({"l": [1]}, "it sets 'l' to [1], but in the search space that is a list of 2"),
        ({"l/1": 8}, "it sets 'l/1' to 8, but in the search space it is the constant 7"),
        ({"c": {"kind": "svm", "C": 11}}, "it sets 'c' to {'kind': 'svm', 'C': 11}, which is none of"),
        ({"c": {"kind": "svm", "zz": 1}}, "it sets 'c' to"),
        ({"c": {"C": 1}}, "it sets 'c' to"),
    ],
)
def test_wrong_points_are_named(point: Any, said: str) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        read_point(SPACE, point, "it")
    assert str(caught.value).startswith(said)


def test_a_space_is_narrowed_and_stays_as_it_was() -> None:
    before = {**SPACE}
    space = narrowed(SPACE, read_point(SPACE, {"l/0": 2, "c/kind": "svm", "c/in/p": 2, "m/d": 0.5}, "it"))
    assert space["l"] == [2, 7]
    assert space["c"]["kind"] == "svm"
    assert space["c"]["in"] == {"p": 2}
    assert isinstance(space["c"]["C"], s.Float)
    assert space["m"] == {"d": 0.5, "k": 3}
    assert before == SPACE


def test_a_grid_in_a_grid() -> None:
    space = {"g": s.grid_search([{"a": s.grid_search([1, 2])}, 3])}
    assert narrowed(space, read_point(space, {"g/a": 2}, "it")) == {"g": {"a": 2}}
    assert narrowed(space, read_point(space, {"g": 3}, "it")) == {"g": 3}
