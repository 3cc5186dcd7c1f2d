"""Domains: what they draw, accept, show, and refuse."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys

import cloudpickle
import numpy as np
import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError

EXAMPLES = [
    s.uniform(-1, 2),
    s.quniform(0, 1, 0.1),
    s.loguniform(1e-4, 1e-1),
    s.loguniform(1, 8, base=2),
    s.qloguniform(1e-4, 1e-1, 5e-5),
    s.randn(10, 2),
    s.qrandn(10, 2, 0.2),
    s.randint(-9, 15),
    s.qrandint(-21, 12, 3),
    s.lograndint(1, 100),
    s.qlograndint(2, 100, 2),
    s.choice(["a", None, [1]]),
    s.Categorical([1, 2]).grid(),
    s.Float(0, 1).normal(0.5, 0.1).quantized(0.25),
]


@pytest.mark.parametrize("module", ["space", "search", "stopper", "search.sample", "search.basic_variant"])
def test_importing_loads_neither_numpy_nor_pandas(module: str) -> None:
    code = f"import sys, hpctune.{module} as m; [getattr(m, n) for n in getattr(m, '__all__', ())]\n"
    code += "sys.exit(', '.join({'numpy', 'pandas', 'cloudpickle'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_defining_a_space_loads_no_numpy() -> None:
    code = "import sys, hpctune.space as s; s.choice([s.quniform(0, 1, .1), s.randint(1, 3)]); s.grid_search([1])\n"
    code += "sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("domain", EXAMPLES, ids=repr)
def test_domains_are_values(domain: s.Domain) -> None:
    assert eval(repr(domain), vars(s)) == domain
    again = pickle.loads(pickle.dumps(domain))
    assert again == domain
    assert hash(again) == hash(domain)
    assert again.sample(3, size=5) == domain.sample(3, size=5)
    assert domain != s.uniform(0.25, 0.26)


def test_equality_sees_bounds_samplers_and_kinds() -> None:
    assert s.uniform(1, 2) == s.uniform(1.0, 2.0) == s.Float(1, 2)
    assert s.uniform(1, 2) != s.uniform(1, 3)
    assert s.uniform(1, 2) != s.loguniform(1, 2)
    assert s.quniform(0, 2, 1) != s.quniform(0, 2, 2)
    assert s.uniform(1, 2) != s.randint(1, 2)
    assert s.choice([1, 2]) != s.choice([2, 1])


def test_setters_return_a_changed_copy() -> None:
    plain = s.Float(0.5, 1)
    assert plain.loguniform().quantized(0.5) == s.qloguniform(0.5, 1, 0.5)
    assert plain == s.uniform(0.5, 1)
    assert s.Integer(1, 9).loguniform() == s.lograndint(1, 9)
    assert s.Float(None, None).normal(1, 2) == s.randn(1, 2)
    assert s.quniform(0, 1, 0.1).quantized(0.5) == s.quniform(0, 1, 0.5)
    sampler = s.qloguniform(0.5, 1, 0.5).get_sampler()
    assert isinstance(sampler, s.Quantized)
    assert (sampler.q, sampler.get_sampler()) == (0.5, s.LogUniform(10))


def test_sampling_from_every_kind_of_source() -> None:
    domain = s.uniform(0, 1)
    assert domain.sample(5) == domain.sample(np.random.default_rng(5)) == domain.sample(random_state=5)
    assert domain.sample(np.random.RandomState(5)) == domain.sample(np.random.RandomState(5))
    assert domain.sample() != domain.sample()
    rng = np.random.default_rng(5)
    assert domain.sample(5, size=3) == [domain.sample(rng) for _ in range(3)]
    assert len(domain.sample(5, size=1)) == 1
    for bad in (-1, "x", True, {"config": 1}):
        with pytest.raises(SearchSpaceError, match="no source of randomness"):
            domain.sample(bad)


def test_values_have_python_types() -> None:
    for domain, kind in [(s.uniform(0, 1), float), (s.quniform(0, 2, 1), float), (s.qrandn(0, 1, 1), float)]:
        assert type(domain.sample(1)) is kind
    for domain in (s.randint(0, 5), s.qrandint(0, 4, 2), s.lograndint(1, 9), s.qlograndint(1, 9, 3)):
        assert type(domain.sample(1)) is int
    assert s.uniform(0, 1).cast("0.5") == 0.5
    assert s.randint(0, 9).cast(3.0) == 3


def test_bounds_of_integers() -> None:
    assert set(s.randint(0, 3).sample(0, size=200)) == {0, 1, 2}
    assert set(s.qrandint(0, 3).sample(0, size=200)) == {0, 1, 2, 3}
    assert set(s.qrandint(1, 10, 3).sample(0, size=200)) == {3, 6, 9}
    assert set(s.lograndint(1, 4).sample(0, size=200)) == {1, 2, 3}
    assert set(s.qlograndint(1, 9, 3).sample(0, size=200)) == {3, 6, 9}


def test_quantized_floats_are_written_short() -> None:
    assert set(s.quniform(0, 0.4, 0.1).sample(0, size=300)) == {0.0, 0.1, 0.2, 0.3, 0.4}


def test_a_bounded_normal_is_clipped() -> None:
    values = s.Float(0, 1).normal(0.5, 5).sample(0, size=100)
    assert {min(values), max(values)} == {0.0, 1.0}


def test_is_valid() -> None:
    assert s.uniform(0, 1).is_valid(1)
    assert s.uniform(0, 1).is_valid(np.float32(0.5))
    assert not s.uniform(0, 1).is_valid(1.01)
    assert not s.uniform(0, 1).is_valid(True)
    assert not s.uniform(0, 1).is_valid("0.5")
    assert not s.uniform(0, 1).is_valid(float("nan"))
    assert not s.quniform(0, 1, 0.1).is_valid(0.15)
    assert s.randint(0, 3).is_valid(np.int64(2))
    assert not s.randint(0, 3).is_valid(3)
    assert s.qrandint(0, 3).is_valid(3)
    assert not s.qrandint(0, 4, 2).is_valid(3)
    assert not s.randint(0, 3).is_valid(1.0)
    assert s.choice(["a"]).is_valid("a")
    assert not s.choice(["a"]).is_valid("b")


def test_kinds_of_domains() -> None:
    assert s.Categorical([1]).grid().is_grid()
    assert not s.choice([1]).is_grid()
    assert s.sample_from(lambda: 1).is_function()
    assert not s.uniform(0, 1).is_function()
    assert s.uniform(0, 1).domain_str == "(0.0, 1.0)"
    categories = s.choice(("a", "b"))
    assert (len(categories), categories[1], list(categories)) == (2, "b", ["a", "b"])


def test_sets_have_a_fixed_order() -> None:
    assert s.choice({"b", "a", "c"}).categories == ["a", "b", "c"]
    assert s.grid_search({"b", "a"}) == {"grid_search": ["a", "b"]}


def test_sample_from_is_called_with_spec_or_with_nothing() -> None:
    assert s.sample_from(lambda: 4).sample() == 4
    assert s.sample_from(lambda spec: spec.config.a + spec["config"]["a"]).sample(config={"a": 2}) == 4
    assert s.sample_from(lambda config: config["a"]).sample(config={"a": 2}) == 2
    assert 0 <= s.sample_from(random.random).sample(1) < 1
    function = s.sample_from(lambda: 4)
    assert cloudpickle.loads(cloudpickle.dumps(function)).sample() == 4
    assert repr(function) == "Function(<lambda>)"


def test_bounds_may_be_equal() -> None:
    assert s.uniform(2, 2).sample() == s.loguniform(2, 2).sample() == s.quniform(2, 2, 0.5).sample() == 2.0
    assert s.uniform(2, 2).is_valid(2.0)
    assert not s.uniform(2, 2).is_valid(2.1)


def test_sample_from_cannot_disturb_or_escape_the_seed() -> None:
    def noisy() -> tuple[float, float]:
        return np.random.uniform(), random.random()

    np.random.seed(0)
    random.seed(0)
    expected = noisy()
    np.random.seed(0)
    random.seed(0)
    assert s.sample_from(noisy).sample(7) == s.sample_from(noisy).sample(7) != s.sample_from(noisy).sample(8)
    assert noisy() == expected


@pytest.mark.parametrize(
    ("define", "words"),
    [
        (lambda: s.uniform(100), ["uniform(100)", "'upper'", "uniform(lower, upper)", "sample_from"]),
        (lambda: s.uniform(lambda spec: 1), ["uniform(<function", "sample_from(lambda spec: ...)"]),
        (lambda: s.loguniform(1, lambda spec: 1), ["a function was given where a value belongs", "sample_from"]),
        (lambda: s.choice(5), ["choice(5)", "must be a list"]),
        (lambda: s.choice([1, 2], size=2), ["size=2", "choice(categories)"]),
        (lambda: s.randn([0, 1, 2]), ["randn([0, 1, 2])", "mean must be a number"]),
        (lambda: s.uniform(5, 1), ["uniform(5, 1)", "lower bound 5.0", "upper bound 1.0"]),
        (lambda: s.randint(1, 1), ["smaller"]),
        (lambda: s.Float(0, 1).normal().uniform(), ["has a distribution already"]),
        (lambda: s.sample_from(lambda a, b: 1), ["function of spec, or of nothing", "(a, b)"]),
        (lambda: s.uniform(0, float("nan")), ["upper bound", "nan"]),
        (lambda: s.uniform(0, float("inf")), ["needs a lower and an upper bound"]),
        (lambda: s.uniform(0, "1"), ["upper bound must be a number", "'1'"]),
        (lambda: s.loguniform(0, 1), ["loguniform(0, 1)", "greater than 0"]),
        (lambda: s.loguniform(1, 2, base=1), ["base 1"]),
        (lambda: s.lograndint(0, 5), ["greater than 0, but it is 0"]),
        (lambda: s.quniform(0, 1, 0.3), ["upper bound 1.0", "q=0.3", "nearest is 0.9"]),
        (lambda: s.quniform(0.1, 0.9, 0.3), ["lower bound 0.1"]),
        (lambda: s.quniform(0, 1, 0), ["q=0.0", "greater than 0"]),
        (lambda: s.qrandn(0, 1, float("inf")), ["finite"]),
        (lambda: s.randn(0, 0), ["standard deviation 0.0"]),
        (lambda: s.randint(1.5, 3), ["whole number", "1.5"]),
        (lambda: s.randint(3, 3), ["lower bound 3"]),
        (lambda: s.qrandint(1, 9, 0), ["q=0"]),
        (lambda: s.qrandint(1, 3, 5), ["no multiple of q=5 from 1 to 3"]),
        (lambda: s.choice([]), ["choice([])", "empty"]),
        (lambda: s.choice("adam"), ["'adam'", "list"]),
        (lambda: s.grid_search([]), ["grid_search([])", "empty"]),
        (lambda: s.grid_search(3), ["grid_search(3)", "list"]),
        (lambda: s.sample_from(3), ["sample_from", "3"]),
        (lambda: s.Float().sample(), ["needs a lower and an upper bound", "(None, None)"]),
    ],
)
def test_mistakes_are_named(define, words: list[str]) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        define()
    for word in words:
        assert word in str(caught.value)


def test_signatures_are_those_of_ray_tune() -> None:
    import inspect

    expected = {
        "uniform": "lower, upper",
        "quniform": "lower, upper, q",
        "loguniform": "lower, upper, base=10",
        "qloguniform": "lower, upper, q, base=10",
        "randn": "mean=0.0, sd=1.0",
        "qrandn": "mean, sd, q",
        "randint": "lower, upper",
        "qrandint": "lower, upper, q=1",
        "lograndint": "lower, upper, base=10",
        "qlograndint": "lower, upper, q, base=10",
        "choice": "categories",
        "sample_from": "func",
        "grid_search": "values",
    }
    for name, text in expected.items():
        parameters = inspect.signature(getattr(s, name)).parameters.values()
        found = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
        assert ", ".join(found) == text
