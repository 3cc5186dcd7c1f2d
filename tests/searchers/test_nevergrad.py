"""NevergradSearch beside Nevergrad itself, and what only it has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("nevergrad") is None:
    pytest.skip("nevergrad is not installed", allow_module_level=True)

import numpy as np

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.isolation import quiet
from hpctune.search.nevergrad import NevergradSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell

ng = NevergradSearch.library()


class TestNevergrad(SearcherContract):
    kind = NevergradSearch


class TestEvolution(SearcherContract):
    kind = NevergradSearch
    arguments = {"optimizer": "TwoPointsDE"}


def native() -> Any:
    return ng.p.Dict(x=ng.p.Scalar(lower=0, upper=1), y=ng.p.Scalar(lower=-1, upper=1))


def made(name: str, parametrization: Any) -> Any:
    with quiet():
        parametrization.random_state = np.random.RandomState(5)
        return ng.optimizers.registry[name](parametrization, budget=40, num_workers=2)


@pytest.mark.parametrize("name", ["NGOpt", "OnePlusOne", "CMA", "PSO"])
def test_the_same_suggestions_as_nevergrad(name: str) -> None:
    optimizer = made(name, native())
    expected = []
    with quiet():
        for _ in range(40):
            candidate = optimizer.ask()
            expected.append(candidate.value)
            optimizer.tell(candidate, square(candidate.value))
    kwargs = {"budget": 40}
    ours = NevergradSearch(ng.optimizers.registry[name], kwargs, native(), "loss", "min", seed=5)
    assert ask_and_tell(ours, square, 40) == expected
    ours = NevergradSearch(made(name, native()), metric="loss", mode="min")
    assert ask_and_tell(ours, square, 40) == expected
    ours = NevergradSearch(name, kwargs, PLANE, "loss", "min", seed=5)
    assert ask_and_tell(ours, square, 40) == expected


def test_instrumentations_and_arrays() -> None:
    keywords = ng.p.Instrumentation(x=ng.p.Scalar(lower=0, upper=1), y=ng.p.Scalar(lower=-1, upper=1))
    points = [{"x": 0.5, "y": 0.25}]
    for searcher in (
        NevergradSearch("OnePlusOne", None, keywords, "loss", "min", points),
        NevergradSearch(made("OnePlusOne", ng.p.Array(shape=(2,))), None, ["x", "y"], "loss", "min", points),
    ):
        first, second = ask_and_tell(searcher, square, 2)
        assert first == pytest.approx(points[0])
        assert set(second) == {"x", "y"}
    for space, said in (
        (ng.p.Array(shape=(2,)), "does not name its parameters"),
        (ng.p.Instrumentation(ng.p.Scalar()), "does not name its parameters"),
    ):
        with pytest.raises(SearchSpaceError, match=said):
            NevergradSearch("OnePlusOne", space=space)
    with pytest.raises(SearchSpaceError, match="names 3 numbers"):
        NevergradSearch(made("OnePlusOne", ng.p.Array(shape=(2,))), space=["x", "y", "z"])


def test_one_at_a_time_where_the_optimizer_waits_for_results() -> None:
    searcher = NevergradSearch("Powell", {"budget": 20}, PLANE, "loss", "min", seed=1)
    assert len(ask(searcher, 3)) == 1
    searcher.on_trial_complete("t0", None, error=True)
    assert len(ask_and_tell(searcher, square, 8, first=1)) == 8


def test_arguments() -> None:
    searcher = NevergradSearch(metric="loss", mode="min")
    searcher.set_search_properties(None, None, PLANE, num_samples=70, seed=1)
    searcher.suggest("t")
    assert (searcher._optimizer.budget, searcher._optimizer.num_workers) == (70, 2)
    with pytest.raises(UsageError, match="no optimizer 'Best'"):
        NevergradSearch("Best")
    with pytest.raises(UsageError, match="takes a Nevergrad optimizer"):
        NevergradSearch(3)
    with pytest.raises(UsageError, match="made already"):
        NevergradSearch(made("DE", native()), {"budget": 3})
    with pytest.raises(SearchSpaceError, match="has its space already"):
        NevergradSearch(made("DE", native()), space=PLANE)
