"""What was tried is found in a changed space by its values."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import hpctune.space as s
from hpctune.space.tried import Tried, finder, identity


def of(space: dict[str, Any], **options: Any) -> Tried:
    return Tried(s.variants(space, seed=1, **options))


class Thing:
    """Two of these are equal only if they are one."""


def test_every_grid_point_is_found_at_its_number() -> None:
    space = {
        "b": s.grid_search([1, [2, 3], {"k": 4}, None, True, "t", float("nan")]),
        "a": s.grid_search([{"in": s.grid_search([1, 2]), "x": s.uniform(0, 1)}, 7]),
        "l": [s.grid_search([1, 2]), 3],
        "x": s.uniform(0, 1),
        "f": s.sample_from(lambda spec: spec.config.x),
        "c": s.choice([{"kind": "svm", "C": s.uniform(0, 1)}, "none"]),
        "k": {"const": (1, 2)},
    }
    find = finder(space)
    found = [find(variant.config) for variant in s.variants(space, seed=1)]
    assert found == [[number] for number in range(7 * 3 * 2)]


@pytest.mark.parametrize(
    ("space", "config", "inside"),
    [
        ({"a": 1}, {"a": 1, "added": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1, "new": 2}, {"a": 1}, False),
        ({"a": s.uniform(0, 1)}, {"a": 0.5}, True),
        ({"a": s.uniform(0, 1)}, {"a": 2.0}, False),
        ({"a": s.choice([1, 2])}, {"a": 3}, False),
        ({"a": s.choice([{"k": s.uniform(0, 1)}])}, {"a": {"k": 0.5}}, True),
        ({"a": s.choice([{"k": s.uniform(0, 1)}])}, {"a": {"k": 5}}, False),
        ({"a": s.sample_from(lambda: 1)}, {"a": "any"}, True),
        ({"a": [s.uniform(0, 1), 1]}, {"a": [0.5, 1]}, True),
        ({"a": [s.uniform(0, 1), 1]}, {"a": [0.5]}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ({"a": np.arange(3)}, {"a": np.arange(3)}, True),
        ({"a": Thing()}, {"a": Thing()}, True),
        ({"a": Thing()}, {"a": 1}, False),
        ({"a": {"x", "y"}}, {"a": {"y", "x"}}, True),
    ],
)
def test_what_is_in_a_space(space: dict[str, Any], config: dict[str, Any], inside: bool) -> None:
    assert of(space).add(config) == (inside, inside)


def test_repeats_are_counted_and_more_than_are_wanted_are_none() -> None:
    tried = of({"a": s.grid_search([1, 2])}, num_samples=2)
    assert [tried.add({"a": 1}) for _ in range(3)] == [(True, True), (True, True), (True, False)]
    assert (tried(0, 0), tried(0, 1)) == (2, 0)
    endless = of({"a": s.grid_search([1, 2])}, num_samples=-1)
    assert all(endless.add({"a": 1})[1] for _ in range(5))


def test_points_count_first() -> None:
    tried = of({"a": s.grid_search([1, 2])}, num_samples=2, points_to_evaluate=[{"a": 2}])
    for value in (1, 2, 2):
        assert tried.add({"a": value}) == (True, True)
    assert (tried(0, 0), tried(1, 0), tried(1, 1)) == (1, 1, 1)


def test_values_that_cannot_be_told_apart_count_in_their_order() -> None:
    space = {"a": s.grid_search([Thing(), Thing(), 1, lambda: 1, lambda: 2]), "b": s.grid_search([1, 1])}
    tried = of(space)
    for number, (_, a) in enumerate(itertools.product((1, 1), (Thing(), Thing(), 1, lambda: 1, lambda: 2))):
        assert tried.add({"a": a, "b": 1}) == (True, True)
        assert tried(0, number) == 1


def test_identities_do_not_depend_on_the_process() -> None:
    code = (
        "from hpctune.space.tried import identity; "
        "print(hash(identity((1, 2))) == hash(identity([1, 2])), identity(object()), identity({'a', 'b'}) == "
        "identity(frozenset('ab')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "True ('object', '<object object>') True"
    assert identity(np.float64(0.5)) == identity(0.5)
    assert identity(1) != identity(True)
