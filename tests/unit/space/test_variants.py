"""Variants: grids, samples, points, references between values, names."""

from __future__ import annotations

import itertools
import pickle

import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError


def configs(space, **options):
    return [variant.config for variant in s.variants(space, seed=options.pop("seed", 1), **options)]


def test_a_grid_goes_through_its_first_axis_fastest_and_repeats() -> None:
    space = {"b": s.grid_search([1, 2, 3]), "a": s.grid_search([True, False])}
    expected = [{"b": b, "a": a} for b in (1, 2, 3) for a in (True, False)]
    assert configs(space) == expected
    assert configs(space, num_samples=2) == expected * 2
    assert configs(dict(reversed(space.items()))) == expected


def test_grids_in_lists_tuples_and_grids() -> None:
    space = {"l": [s.grid_search([1, 2]), (s.grid_search([3, 4]), 5)], "g": s.grid_search([s.grid_search([6, 7]), 8])}
    variants = s.variants(space, seed=0)
    assert variants.total == 12
    seen = {(v.config["l"][0], v.config["l"][1], v.config["g"]) for v in variants}
    assert seen == set(itertools.product([1, 2], [(3, 5), (4, 5)], [6, 7, 8]))
    assert variants[0].evaluated == {"l/0": 1, "l/1/0": 3, "g": 6}


def test_a_categorical_may_be_a_grid_axis() -> None:
    assert configs({"x": s.Categorical([1, 2]).grid()}) == [{"x": 1}, {"x": 2}]


def test_conditional_spaces_below_grid_values_and_choices() -> None:
    space = {
        "m": s.grid_search([{"kind": "a", "x": s.uniform(0, 1)}, {"kind": "b"}]),
        "c": s.choice([s.choice([s.randint(5, 6)])]),
    }
    first, second = s.variants(space, seed=0)
    assert 0 <= first.config["m"]["x"] <= 1
    assert second.config == {"m": {"kind": "b"}, "c": 5}
    assert first.evaluated == {"m/kind": "a", "m/x": first.config["m"]["x"], "c": 5}


def test_configurations_share_no_containers() -> None:
    layers, chosen = [1, 2], {"k": []}
    space = {"layers": layers, "c": s.choice([chosen]), "g": s.grid_search([chosen])}
    one, two = configs(space, num_samples=2)
    one["layers"].append(3)
    one["c"]["k"].append(1)
    one["g"]["k"].append(1)
    assert two == {"layers": [1, 2], "c": {"k": []}, "g": {"k": []}} == configs(space, num_samples=2)[0]
    assert chosen == {"k": []}


def test_a_bare_function_is_a_constant() -> None:
    assert configs({"f": len, "eval": {"eval": "1 + 1"}}) == [{"f": len, "eval": {"eval": "1 + 1"}}]


def test_sample_from_reads_anything_in_any_order() -> None:
    space = {
        "a": s.sample_from(lambda spec: spec.config.b * 10),
        "b": s.sample_from(lambda spec: spec.config.nest.c + spec["config"]["nest"]["g"]),
        "nest": {"c": s.randint(1, 9), "g": s.grid_search([100, 200])},
        "layers": [s.choice([16, 64]), s.sample_from(lambda spec: spec.config.layers[0] * 2)],
        "all": s.sample_from(lambda spec: spec.config.nest),
        "config": s.sample_from(lambda spec: spec.config.get("missing", "default")),
        "tail": s.sample_from(lambda spec: list(spec.config.layers[-1:])),
    }
    for config in configs(space):
        assert config["b"] == config["nest"]["c"] + config["nest"]["g"]
        assert config["a"] == config["b"] * 10
        assert config["layers"][1] == config["layers"][0] * 2
        assert config["all"] == config["nest"]
        assert type(config["all"]) is dict
        assert config["config"] == "default"
        assert config["tail"] == config["layers"][1:]


def test_sample_from_may_return_a_domain() -> None:
    (config,) = configs({"x": s.sample_from(lambda: s.randint(3, 4)), "y": s.sample_from(lambda c: c.x + 1)})
    assert config == {"x": 3, "y": 4}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"a": {"x": s.sample_from(lambda c: c.b)}, "b": s.sample_from(lambda c: c.config.a.x)},
            ["'a/x' needs 'b'", "'b' needs 'a/x'"],
        ),
        ({"a": s.sample_from(lambda spec: spec.config.a)}, ["'a' needs 'a'"]),
        ({"a": s.sample_from(lambda spec: spec.config.c)}, ["'a'", "no 'c' here", "['a']"]),
        ({"a": s.sample_from(lambda spec: spec["c"])}, ["'a'", "KeyError", "'c'"]),
        ({"a": s.sample_from(lambda spec: 1 / 0)}, ["'a'", "ZeroDivisionError"]),
        ({"a": s.choice([{"b": s.grid_search([1])}])}, ["'a'", "'a/b'", "grid_search"]),
        ({"a": {"grid_search": "abc"}}, ["'abc'", "list"]),
    ],
)
def test_what_cannot_be_resolved_is_named(space, words: list[str]) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        configs(space)
    for word in words:
        assert word in str(caught.value)


def test_a_function_that_never_returns_a_value_is_stopped() -> None:
    def endless() -> s.Domain:
        return s.sample_from(endless)

    with pytest.raises(SearchSpaceError, match="'a' drew yet another domain"):
        configs({"a": s.sample_from(endless)})


def test_points_come_first_and_use_up_samples() -> None:
    space = {"x": s.uniform(0, 1), "n": {"y": s.randint(0, 9), "z": 1}, "l": [1, 2]}
    points = [{"x": 0.7, "n": {"y": 8}}, {"n/y": 3, "l": (1, 2)}]
    variants = s.variants(space, seed=1, num_samples=3, points_to_evaluate=points)
    assert variants.total == 3
    assert variants[0].config == {"x": 0.7, "n": {"y": 8, "z": 1}, "l": [1, 2]}
    assert variants[0].evaluated == {"x": 0.7, "n/y": 8}
    assert 0 <= variants[1].config["x"] <= 1
    assert variants[1].evaluated == {"x": variants[1].config["x"], "n/y": 3}
    assert variants[2].config["n"]["z"] == 1
    assert s.variants(space, seed=1, num_samples=1, points_to_evaluate=points).total == 2


def test_a_point_fixes_grid_axes_or_leaves_them() -> None:
    space = {"g": s.grid_search([1, 2]), "h": s.grid_search([3, 4]), "x": s.uniform(0, 1)}
    points = [{"g": 2}, {"x": 0.5}]
    found = [(c["g"], c["h"]) for c in configs(space, num_samples=3, points_to_evaluate=points)]
    grid = [(1, 3), (2, 3), (1, 4), (2, 4)]
    assert found == [(2, 3), (2, 4), *grid, *grid]


def test_a_point_may_choose_a_dict_and_stands_under_functions() -> None:
    space = {"m": s.choice([{"a": 1}, {"a": 2}]), "f": s.sample_from(lambda spec: spec.config.m.a)}
    (variant,) = s.variants(space, seed=1, points_to_evaluate=[{"m/a": 2}])
    assert variant.config == {"m": {"a": 2}, "f": 2}
    assert variant.evaluated == {"m/a": 2, "f": 2}
    (variant,) = s.variants(space, seed=1, points_to_evaluate=[{"m": {"a": 2}, "f": 7}])
    assert variant.config == {"m": {"a": 2}, "f": 7}


def test_constant_grid_search_keeps_random_values_within_a_sample() -> None:
    space = {"g": s.grid_search([1, 2, 3]), "x": s.uniform(0, 1), "y": s.sample_from(lambda c: c.x * c.g)}
    values = [c["x"] for c in configs(space, num_samples=2, constant_grid_search=True)]
    assert [len(set(values[:3])), len(set(values[3:])), len(set(values))] == [1, 1, 2]
    assert len({c["x"] for c in configs(space, num_samples=2)}) == 6
    assert all(c["y"] == c["x"] * c["g"] for c in configs(space, constant_grid_search=True))


def test_addressing() -> None:
    variants = s.variants({"x": s.uniform(0, 1)}, seed=3, num_samples=-1)
    assert variants.total is None
    assert [v.index for v in itertools.islice(variants, 3)] == [0, 1, 2]
    assert variants[10**6].config == variants[10**6].config != variants[10**6 + 1].config
    assert pickle.loads(pickle.dumps(variants))[5] == variants[5]
    two = s.variants({"x": s.uniform(0, 1)}, seed=3, num_samples=2)
    for index in (-1, 2):
        with pytest.raises(IndexError, match=f"number {index}"):
            two[index]


def test_a_parameter_more_does_not_change_the_others() -> None:
    one, two = configs({"x": s.uniform(0, 1)}), configs({"a": s.uniform(0, 1), "x": s.uniform(0, 1)})
    assert one[0]["x"] == two[0]["x"] != two[0]["a"]


@pytest.mark.parametrize("number", [0, -2, 1.5, True, None])
def test_num_samples_is_checked(number: object) -> None:
    with pytest.raises(SearchSpaceError, match="num_samples"):
        configs({}, num_samples=number)


def test_the_space_is_checked() -> None:
    with pytest.raises(SearchSpaceError, match=r"dict of parameters, not \[1\]"):
        configs([1])


def test_tags() -> None:
    variants = s.variants({"lr": s.grid_search([0.01]), "momentum": s.grid_search([0.9])}, seed=0)
    assert variants[0].tag == "0_lr=0.01,momentum=0.9"
    assert s.experiment_tag(3, {}) == "3"
    assert s.format_vars({"model/lr": 1e-5, "layers/0": 64, ("a", "act"): len, "b/act": "x/../y z"}) == (
        "a_act=len,b_act=x_.._y_z,layers_0=64,lr=1e-05"
    )
    long = s.format_vars({f"name{i}": "v" * 100 for i in range(20)})
    assert len(long) == 120
    assert long.startswith(f"name0={'v' * 32},")


def test_looking_at_a_space() -> None:
    x, grid = s.uniform(0, 1), s.grid_search([1, 2])
    space = {"a": {"x": x}, "l": [grid, 3], "k": s.Categorical([1]).grid()}
    assert s.domains(space) == {("a", "x"): x, ("k",): space["k"]}
    assert s.grids(space) == {("l", 0): [1, 2], ("k",): [1]}
    assert s.has_unresolved(space)
    assert not s.has_unresolved({"a": {"grid_search": [1], "other": 2}, "b": []})
    assert list(s.walk(space))[1:3] == [(("l", 0), grid), (("l", 1), 3)]


def test_flattening() -> None:
    nested = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}]}
    assert s.flatten_dict(nested) == {"a/b": 1, "a/c": {}, "d": [1, {"e": 2}]}
    assert s.flatten_dict(nested, ".", flatten_list=True) == {"a.b": 1, "a.c": {}, "d.0": 1, "d.1.e": 2}
    assert s.unflatten_dict(s.flatten_dict(nested)) == nested
    with pytest.raises(ValueError, match="'x/y'"):
        s.flatten_dict({"x/y": 1}, prevent_delimiter=True)
    for bad in ({"a": 1, "a/b": 2}, {"a/b": 2, "a": 1}):
        with pytest.raises(SearchSpaceError, match="'a"):
            s.unflatten_dict(bad)
