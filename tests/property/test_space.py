"""Properties of sampling that hold for all bounds, seeds and spaces."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import hpctune.space as s
from hpctune.errors import SearchSpaceError

quick = settings(deadline=None, max_examples=50)

seeds = st.integers(0, 2**64)
whole = st.integers(-1000, 1000)
real = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)


def ordered(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(values, values).filter(lambda pair: pair[0] < pair[1])


@st.composite
def multiples(draw: st.DrawFn, low: int) -> tuple[float, float, float]:
    """Bounds that are multiples of a decimal step."""
    lower, upper = draw(ordered(st.integers(low, 500)))
    q = draw(st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.25, 0.3, 1.0, 2.5]))
    return lower * q, upper * q, q


numeric = st.one_of(
    ordered(real).map(lambda b: s.uniform(*b)),
    ordered(positive).map(lambda b: s.loguniform(*b)),
    multiples(-500).map(lambda b: s.quniform(*b)),
    multiples(1).map(lambda b: s.qloguniform(*b)),
    ordered(whole).map(lambda b: s.randint(*b)),
    ordered(st.integers(1, 10**6)).map(lambda b: s.lograndint(*b)),
    st.tuples(real, positive).map(lambda b: s.randn(*b)),
)


@quick
@given(numeric, seeds)
def test_every_value_drawn_is_valid_and_shows_as_it_is(domain: s.Domain, seed: int) -> None:
    for value in domain.sample(seed, size=20):
        assert domain.is_valid(value)
        assert domain.cast(value) == value
        assert domain.lower <= value <= domain.upper
    assert eval(repr(domain), vars(s)) == domain


@quick
@given(multiples(-500), seeds)
def test_quantized_floats_are_multiples(bounds: tuple[float, float, float], seed: int) -> None:
    q = bounds[2]
    for value in s.quniform(*bounds).sample(seed, size=20):
        assert math.isclose(value / q, round(value / q), abs_tol=1e-9)


@quick
@given(ordered(st.integers(1, 1000)), st.integers(1, 50), seeds, st.booleans())
def test_quantized_integers_are_multiples_within_both_bounds(
    bounds: tuple[int, int], q: int, seed: int, logarithmic: bool
) -> None:
    define = s.qlograndint if logarithmic else s.qrandint
    expected = set(range(-(-bounds[0] // q) * q, bounds[1] + 1, q))
    if not expected:
        with pytest.raises(SearchSpaceError, match=f"q={q}"):
            define(*bounds, q)
        return
    domain = define(*bounds, q)
    assert set(domain.sample(seed, size=30)) <= expected
    assert (domain.smallest, domain.largest) == (min(expected), max(expected))


@settings(deadline=None, max_examples=10)
@given(st.integers(-6, 2), st.integers(1, 6), seeds)
def test_the_median_on_a_logarithmic_scale_is_the_geometric_mean(start: int, decades: int, seed: int) -> None:
    lower, upper = 10.0**start, 10.0 ** (start + decades)
    logs = [math.log10(value) for value in s.loguniform(lower, upper).sample(seed, size=2000)]
    middle = start + decades / 2
    assert abs(statistics.median(logs) - middle) < 0.08 * decades  # 7 standard errors
    ints = s.lograndint(1, 10**6).sample(seed, size=2000)
    assert 10**2.5 < statistics.median(ints) < 10**3.5


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_the_median_on_a_linear_scale_is_the_mean(seed: int) -> None:
    assert abs(statistics.median(s.uniform(-1, 3).sample(seed, size=2000)) - 1) < 0.32
    assert abs(statistics.median(s.randn(5, 2).sample(seed, size=2000)) - 5) < 0.4
    assert abs(statistics.stdev(s.randn(5, 2).sample(seed, size=2000)) - 2) < 0.25
    assert 130 < s.choice(["a", "b"]).sample(seed, size=400).count("b") < 270


leaves = st.one_of(
    st.integers(), st.text(max_size=3), numeric, st.lists(st.integers(), min_size=1, max_size=3).map(s.choice)
)
grids = st.lists(st.integers(), min_size=1, max_size=3).map(s.grid_search)
keys = st.text("abcde", min_size=1, max_size=3)
trees = st.recursive(
    st.one_of(leaves, grids),
    lambda inner: st.one_of(st.dictionaries(keys, inner, max_size=3), st.lists(inner, max_size=3)),
    max_leaves=6,
)
spaces = st.dictionaries(keys, trees, max_size=4).filter(lambda space: grid_count(space) <= 50)


def grid_count(space: Any) -> int:
    return math.prod(len(values) for values in s.grids(space).values())


def shuffled(node: Any, order: random.Random) -> Any:
    """The same space with the keys of its dicts in another order."""
    if isinstance(node, dict):
        items = [(key, shuffled(value, order)) for key, value in node.items()]
        order.shuffle(items)
        return dict(items)
    return [shuffled(item, order) for item in node] if isinstance(node, list) else node


@quick
@given(spaces, st.integers(1, 3), seeds)
def test_the_number_of_variants_is_grid_times_samples(space: dict[str, Any], samples: int, seed: int) -> None:
    variants = s.variants(space, seed=seed, num_samples=samples)
    found = list(variants)
    assert len(found) == variants.total == grid_count(space) * samples
    axes = list(s.grids(space))
    points = [tuple(variant.resolved[path] for path in axes) for variant in found]
    assert points == points[: grid_count(space)] * samples


@quick
@given(spaces, seeds)
def test_variants_keep_the_shape_and_the_constants(space: dict[str, Any], seed: int) -> None:
    for variant in s.variants(space, seed=seed):
        assert not s.has_unresolved(variant.config)
        config_leaves, space_leaves = dict(s.walk(variant.config)), dict(s.walk(space))
        assert list(config_leaves) == list(space_leaves)
        for path, leaf in space_leaves.items():
            if isinstance(leaf, s.Domain):
                assert leaf.is_valid(config_leaves[path])
            elif path not in variant.resolved:
                assert config_leaves[path] == leaf
        assert set(variant.resolved) == {*s.domains(space), *s.grids(space)}


@quick
@given(spaces, seeds, st.randoms(use_true_random=False), st.booleans())
def test_same_seed_same_configurations_in_any_order(
    space: dict[str, Any], seed: int, order: random.Random, constant: bool
) -> None:
    first = list(s.variants(space, seed=seed, num_samples=3, constant_grid_search=constant))
    again = s.variants(shuffled(space, order), seed=seed, num_samples=-1, constant_grid_search=constant)
    indices = list(range(len(first)))
    order.shuffle(indices)
    for index in indices:
        assert again[index] == first[index]


@quick
@given(seeds)
def test_other_seeds_and_other_numbers_give_other_values(seed: int) -> None:
    space = {"x": s.uniform(0, 1), "y": s.uniform(0, 1)}
    drawn = [s.variants(space, seed=each, num_samples=2) for each in (seed, seed + 1)]
    values = [value for variants in drawn for variant in variants for value in variant.config.values()]
    assert len(set(values)) == 8


@quick
@given(spaces, seeds)
def test_a_complete_point_is_tried_as_it_is(space: dict[str, Any], seed: int) -> None:
    config = s.variants(space, seed=seed)[0].config
    first = s.variants(space, seed=seed + 1, points_to_evaluate=[config], num_samples=2)
    assert first[0].config == config
    assert first.total == 1 + grid_count(space)


nested = st.recursive(st.integers(), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=8).filter(
    lambda value: isinstance(value, dict)
)


@quick
@given(nested)
def test_unflatten_reverses_flatten(tree: dict[str, Any]) -> None:
    assert s.unflatten_dict(s.flatten_dict(tree)) == tree
