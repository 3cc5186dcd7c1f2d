"""Random and grid search that go on in another space: what was tried is not tried again, what is new is."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

import hpctune.space as s
from hpctune.search import EXHAUSTED, BasicVariantGenerator, Suggestion

Configs = list[dict[str, Any]]


def grid(**axes: list[Any]) -> dict[str, Any]:
    return {name: s.grid_search(values) for name, values in axes.items()}


def go_on(before: Configs, space: dict[str, Any], num_samples: int = 1, **options: Any) -> Configs:
    """What is tried in a space after these configurations."""
    policy = BasicVariantGenerator(**options).bind(space, num_samples, seed=3)
    for index, config in enumerate(before):
        policy.replay(index, f"t{index}", json.loads(json.dumps(config)))
    found: Configs = []
    while isinstance(answer := policy.suggest(len(before) + len(found), f"t{len(before) + len(found)}"), Suggestion):
        found.append(answer.config)
    assert answer is EXHAUSTED
    assert policy.total == len(before) + len(found)
    return found


def pairs(configs: Configs, names: str = "ab") -> Counter[tuple[Any, ...]]:
    return Counter(tuple(config[name] for name in names) for config in configs)


SMALL = grid(a=[1, 2], b=[1, 2])
WHOLE = go_on([], SMALL)


@pytest.mark.parametrize(
    ("space", "new"),
    [
        (SMALL, []),
        (grid(a=[1, 2, 3], b=[1, 2]), [(3, 1), (3, 2)]),
        (grid(a=[3, 2, 1], b=[2, 1]), [(3, 1), (3, 2)]),
        (grid(a=[2], b=[1, 2]), []),
        (grid(a=[2, 5], b=[2]), [(5, 2)]),
        ({"a": 2, **grid(b=[1, 2, 3])}, [(2, 3)]),
        ({"a": 7, **grid(b=[1, 2])}, [(7, 1), (7, 2)]),
        ({**grid(a=[1, 2]), "b": s.choice([1, 2])}, []),
    ],
)
def test_a_grid_changes(space: dict[str, Any], new: list[tuple[Any, ...]]) -> None:
    assert pairs(go_on(WHOLE, space)) == Counter(new)


@pytest.mark.parametrize("done", range(5))
def test_it_changes_before_all_is_tried(done: int) -> None:
    tried = WHOLE[:done]
    assert pairs(tried + go_on(tried, grid(b=[1, 2], a=[3, 1, 2]))) == Counter(
        {(a, b): 1 for a in (1, 2, 3) for b in (1, 2)}
    )


@pytest.mark.parametrize("done", range(14))
def test_nothing_changes(done: int) -> None:
    space = {**grid(a=[1, 2]), "x": s.uniform(0, 1), "f": s.sample_from(lambda spec: spec.config.x)}
    options: dict[str, Any] = {"points_to_evaluate": [{"a": 1}, {"x": 0.5}], "num_samples": 7}
    for constant in (False, True):
        whole = go_on([], space, constant_grid_search=constant, **options)
        assert len(whole) == 13
        assert whole[:done] + go_on(whole[:done], space, constant_grid_search=constant, **options) == whole


def test_a_constant_becomes_a_grid() -> None:
    before = go_on([], {"a": 1, "b": 1})
    assert pairs(go_on(before, {**grid(a=[2, 1]), "b": 1})) == Counter([(2, 1)])


def test_repeats() -> None:
    three = go_on([], SMALL, 3)
    assert set(pairs(three).values()) == {3}
    assert go_on(three, SMALL, 3) == []
    assert go_on(three, SMALL, 2) == []
    assert set(pairs(go_on(three, SMALL, 5)).values()) == {2}
    new = go_on(three, grid(a=[1, 2, 3], b=[1, 2]), 3)
    assert pairs(new) == Counter({(3, 1): 3, (3, 2): 3})
    assert pairs(three + go_on(three, grid(a=[2, 3], b=[1]), 4))[2, 1] == 4


def test_random_values_are_drawn_anew_and_depend_on_the_seed_alone() -> None:
    small, large = ({**grid(a=values), "x": s.uniform(0, 1)} for values in ([1, 2], [1, 2, 3]))
    before = go_on([], small, 2)
    new = go_on(before, large, 2)
    assert [config["a"] for config in new] == [3, 3]
    assert len({config["x"] for config in before + new}) == 6
    assert new == go_on(before, large, 2)


def test_constant_random_values_stay_those_of_their_sample() -> None:
    small, large = ({**grid(a=values), "x": s.uniform(0, 1)} for values in ([1, 2], [1, 2, 3]))
    before = go_on([], small, 2, constant_grid_search=True)
    new = go_on(before, large, 2, constant_grid_search=True)
    assert [(config["a"], config["x"]) for config in new] == [(3, before[0]["x"]), (3, before[2]["x"])]


def test_random_values_that_the_space_does_not_have_any_more() -> None:
    before = go_on([], {"x": s.uniform(0, 1)}, 8)
    inside = sum(config["x"] <= 0.5 for config in before)
    new = go_on(before, {"x": s.uniform(0, 0.5)}, 8)
    assert 0 < inside < 8
    assert len(new) == 8 - inside
    assert go_on(before, {"x": s.uniform(0, 2)}, 8) == []


def test_points_change() -> None:
    space = {"x": s.uniform(0, 1)}
    before = go_on([], space, 3, points_to_evaluate=[{"x": 0.5}])
    added = go_on(before, space, 3, points_to_evaluate=[{"x": 0.5}, {"x": 0.25}])
    assert added == [{"x": 0.25}]
    assert go_on(before, space, 3, points_to_evaluate=[]) == []
    assert go_on(before, space, 1, points_to_evaluate=[{"x": 0.5}]) == []


def test_which_trials_are_outside() -> None:
    policy = BasicVariantGenerator().bind(grid(a=[2, 3], b=[1, 2]), 1, seed=3)
    for index, config in enumerate([*WHOLE, {"a": 2, "b": 1}]):
        policy.replay(index, f"t{index}", config)
    assert [WHOLE[int(trial_id[1:])]["a"] for trial_id in policy.outside] == [1, 1]
