"""``points_to_evaluate`` mean the same to every searcher that can be made here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import hpctune.space as s
from hpctune.errors import SearchSpaceError
from hpctune.search import (
    BasicVariantGenerator,
    GPSearch,
    HyperOptSearch,
    OptunaSearch,
    Searcher,
    SearchGenerator,
    Suggestion,
    TPESearch,
    TuneBOHB,
)

# HyperOpt 0.3.0 with numpy 2.5
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")

SPACE: dict[str, Any] = {
    "x": s.uniform(0, 1),
    "m": {"d": s.randint(1, 5), "k": 3},
    "q": s.quniform(0, 1, 0.5),
    "c": s.choice([{"kind": "svm", "C": s.uniform(1, 10)}, {"kind": "rf"}]),
}

every = pytest.mark.parametrize(
    "kind", [BasicVariantGenerator, TPESearch, GPSearch, OptunaSearch, HyperOptSearch, TuneBOHB]
)


def first_of(kind: Callable[..., Any], point: dict[str, Any], space: dict[str, Any] = SPACE) -> dict[str, Any]:
    made = kind(points_to_evaluate=[point])
    algorithm = SearchGenerator(made) if isinstance(made, Searcher) else made
    answer = algorithm.bind(space, 3, 7, metric="loss", mode="min").suggest(0, "t")
    assert isinstance(answer, Suggestion)
    return answer.config


@every
@pytest.mark.parametrize(
    "point",
    [
        {"x": 0.25, "m": {"d": 2}, "q": 0.5, "c": {"kind": "svm", "C": 2.0}},
        {"x": 0.25, "m/d": 2, "q": 0.5, "c/kind": "svm", "c/C": 2},
        {"x": 0.25, "m": {"k": 3}, "m/d": 2.0, "q": 0.5, "c": {"C": 2.0}, "c/kind": "svm"},
    ],
)
def test_nested_and_flat_keys(kind: Callable[..., Any], point: dict[str, Any]) -> None:
    config = first_of(kind, point)
    assert config == {"x": 0.25, "m": {"d": 2, "k": 3}, "q": 0.5, "c": {"kind": "svm", "C": 2.0}}
    assert type(config["m"]["d"]) is int


@every
def test_what_is_missing_is_drawn(kind: Callable[..., Any]) -> None:
    config = first_of(kind, {"c/kind": "svm"})
    assert config["c"]["kind"] == "svm"
    assert 1 <= config["c"]["C"] <= 10
    assert 0 <= config["x"] <= 1


@every
@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"z": 1}, "sets 'z', which is no parameter of the search space. It has: 'x', 'm/d'"),
        ({"x": 2}, "sets 'x' to 2, which is not in Float"),
        ({"q": 0.3}, "sets 'q' to 0.3, which is not in Float"),
        ({"m/d": 5}, "sets 'm/d' to 5, which is not in Integer"),
        ({"m/k": 4}, "sets 'm/k' to 4, but in the search space it is the constant 3"),
        ({"c": {"kind": "knn"}}, "sets 'c' to {'kind': 'knn'}, which is none of"),
        ({"c": {"kind": "rf", "C": 2.0}}, "sets 'c' to"),
    ],
)
def test_wrong_points_are_refused_when_the_search_is_bound(
    kind: Callable[..., Any], point: dict[str, Any], said: str
) -> None:
    made = kind(points_to_evaluate=[{}, point])
    algorithm = SearchGenerator(made) if isinstance(made, Searcher) else made
    with pytest.raises(SearchSpaceError) as caught:
        algorithm.bind(SPACE, 3, 7, metric="loss", mode="min")
    assert str(caught.value).startswith(f"points_to_evaluate[1] {said}")


@pytest.mark.parametrize("kind", [TPESearch, GPSearch, OptunaSearch, HyperOptSearch, TuneBOHB])
def test_incomplete_evaluated_points_are_refused_when_the_search_is_bound(kind: Callable[..., Any]) -> None:
    searcher = kind()
    searcher.add_evaluated_point({"x": 0.5}, 1.0)
    with pytest.raises(SearchSpaceError, match="An evaluated point must be complete, but sets no 'm/d'"):
        SearchGenerator(searcher).bind(SPACE, 3, 7, metric="loss", mode="min")


@pytest.mark.parametrize("kind", [BasicVariantGenerator, TPESearch, GPSearch])
def test_a_computed_value_may_be_set(kind: Callable[..., Any]) -> None:
    space = {"x": s.uniform(0, 1), "f": s.sample_from(lambda spec: spec.config.x * 2)}
    assert first_of(kind, {"x": 0.25}, space)["f"] == 0.5
    assert first_of(kind, {"x": 0.25, "f": 3}, space)["f"] == 3
