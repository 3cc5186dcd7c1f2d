"""Domains as text on a command line."""

from __future__ import annotations

from typing import Any

import pytest

from hpctune.errors import SearchSpaceError
from hpctune.space import choice, grid_search, lograndint, loguniform, qrandint, quniform, randint, randn, uniform
from hpctune.space.text import domain, replacement, value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4..1e-1", uniform(1e-4, 1e-1)),
        ("log:1e-4..1e-1", loguniform(1e-4, 1e-1)),
        ("1..10", randint(1, 11)),
        ("-3..3", randint(-3, 4)),
        ("log:1..100", lograndint(1, 101)),
        ("0..1:0.25", quniform(0, 1, 0.25)),
        ("2..8:2", qrandint(2, 8, 2)),
        ("normal:0,1", randn(0, 1)),
        ("16,32,64", choice([16, 32, 64])),
        ("adam, sgd", choice(["adam", "sgd"])),
        ("true,False,none", choice([True, False, None])),
        ("1e-3,1e-4", choice([1e-3, 1e-4])),
        ("'a,b',c", choice(["a,b", "c"])),
        ("[1,2],[3]", choice(["[1,2]", "[3]"])),
        ("0..1/5", choice([0.0, 0.25, 0.5, 0.75, 1.0])),
        ("0..8/5", choice([0, 2, 4, 6, 8])),
        ("log:1e-4..1e-1/4", choice([1e-4, 1e-3, 1e-2, 1e-1])),
    ],
)
def test_domains(text: str, expected: Any) -> None:
    assert repr(domain(text)) == repr(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.1", 0.1), ("3", 3), ("007", 7.0), ("adam", "adam"), ("text:1..3", "1..3"), ("a.b..c", "a.b..c"), ("'1'", "1")],
)
def test_constants(text: str, expected: object) -> None:
    assert domain(text) == expected == domain(text, grid=True)
    assert value(text.removeprefix("text:")) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [("16,32", [16, 32]), ("1..4", [1, 2, 3, 4]), ("1..7:3", [1, 4, 7]), ("0..1/3", [0, 0.5, 1]),
     ("log:1..100/3", [1, 10, 100])],
)  # fmt: skip
def test_grids(text: str, values: list[object]) -> None:
    assert domain(text, grid=True) == grid_search(values)


@pytest.mark.parametrize(
    ("text", "grid", "words"),
    [
        ("3..1", False, "must be below"),
        ("log:0..1", False, "above 0"),
        ("0..1:3", False, "the step"),
        ("0..1/1", False, "2 or more"),
        ("1..", False, "is not a range"),
        ("log:1e-4..1e-1", True, "Say how many values: 1e-4..1e-1/5"),
        ("0.0..1", True, "has no grid"),
    ],
)
def test_what_is_no_domain(text: str, grid: bool, words: str) -> None:
    with pytest.raises(SearchSpaceError, match=words):
        domain(text, grid=grid)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loguniform(1e-4, 1e-1)", loguniform(1e-4, 1e-1)),
        ("tune.randint(lower=1, upper=9)", randint(1, 9)),
        ("hpctune.choice(['a', 'b'])", choice(["a", "b"])),
        ("ray.tune.quniform(0, 1, 0.25)", quniform(0, 1, 0.25)),
        ("Conv(3)", "Conv(3)"),
    ],
)
def test_functions_of_the_search_space(text: str, expected: Any) -> None:
    assert repr(domain(text)) == repr(expected) == repr(replacement(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loguniform(0, 1)", "loguniform"),
        ("uniform(1)", "uniform"),
        ("uniform(a, b)", "must be numbers, texts or lists"),
        ("log_uniform(1, 2)", "Did you mean 'loguniform'"),
    ],
)
def test_calls_that_cannot_be(text: str, words: str) -> None:
    for read in (domain, replacement):
        with pytest.raises(SearchSpaceError, match=words):
            read(text)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0.01", 0.01),
        ("1e-3", 0.001),
        ("[1, 2]", [1, 2]),
        ("(1, 2)", (1, 2)),
        ("{'a': 1}", {"a": 1}),
        ('{"grid_search": [1, 2]}', grid_search([1, 2])),
        ("true", True),
        ("null", None),
        ("None", None),
        ("adam", "adam"),
        ("'7'", "7"),
        ("'a,b'", "a,b"),
        ("text:a,b", "a,b"),
        ("a b", "a b"),
        ("Hello, world", "Hello, world"),
        ("", ""),
        ("(" * 500, "(" * 500),
        ("1,2,3", grid_search([1, 2, 3])),
        ("relu,tanh", grid_search(["relu", "tanh"])),
        ("true,false", grid_search([True, False])),
        ("grid_search([1, 2])", grid_search([1, 2])),
    ],
)
def test_what_replaces_a_part_of_a_space(written: str, expected: object) -> None:
    made = replacement(written)
    assert made == expected
    assert type(made) is type(expected)


def test_domains_that_replace_a_part_of_a_space() -> None:
    assert repr(replacement("log:1e-4..1")) == repr(loguniform(1e-4, 1))
    assert repr(replacement("1..4")) == repr(randint(1, 5))
    assert repr(replacement("normal:0,1")) == repr(randn(0, 1))
    with pytest.raises(SearchSpaceError, match="is not a range"):
        replacement("1..x")
