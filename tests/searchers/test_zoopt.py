"""ZOOptSearch beside ZOOpt itself, and what only it has."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("zoopt") is None:
    pytest.skip("zoopt is not installed", allow_module_level=True)

import numpy as np

import hpctune.space as s
from hpctune.errors import UsageError
from hpctune.search.zoopt import ZOOptSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell


class TestZOOpt(SearcherContract):
    kind = ZOOptSearch
    space = "dim_dict"
    arguments = {"budget": 16, "parallel_num": 8}


def test_the_same_suggestions_as_zoopt() -> None:
    from zoopt import Dimension2, Parameter, ValueType
    from zoopt.algos.opt_algorithms.racos.sracos import SRacosTune

    native = {"x": (ValueType.CONTINUOUS, [0, 1], 1e-12), "y": (ValueType.CONTINUOUS, [-1, 1], 1e-12)}
    np.random.seed(5)
    optimizer = SRacosTune(Dimension2(list(native.values())), Parameter(budget=30), parallel_num=1)
    expected = []
    for _ in range(30):
        solution = optimizer.suggest()
        if solution is None:  # all random ones had ended before it was asked again: left alone, it waits for ever
            optimizer.semaphore = 1
            solution = optimizer.suggest()
        expected.append(dict(zip(native, solution.get_x(), strict=True)))
        optimizer.complete(solution, square(expected[-1]))
    for space in (PLANE, native):
        searcher = ZOOptSearch(dim_dict=space, budget=30, metric="loss", mode="min", seed=5)
        assert ask_and_tell(searcher, square, 30) == expected


def test_waits_for_the_random_ones_and_then_runs_so_many_at_a_time() -> None:
    searcher = ZOOptSearch(dim_dict=PLANE, budget=30, metric="loss", mode="min", parallel_num=2, seed=1)
    configs = ask(searcher, 9)
    assert len(configs) == 4
    for number, config in enumerate(configs):
        assert searcher.suggest("early") is None
        searcher.on_trial_complete(f"t{number}", {"loss": square(config)})
    assert len(ask(searcher, 5, first=10)) == 2


def test_ends_when_everything_has_been_tried() -> None:
    searcher = ZOOptSearch(dim_dict={"c": s.choice(["a", "b"])}, budget=30, metric="loss", mode="min", seed=1)
    for number in range(30):
        if (config := searcher.suggest(str(number))) == searcher.FINISHED:
            break
        assert isinstance(config, dict)
        searcher.on_trial_complete(str(number), {"loss": 1.0})
    else:
        pytest.fail("it never ended")
    assert number <= 4


def test_arguments() -> None:
    made = ZOOptSearch(metric="loss", mode="min", exploration_rate=0.5)
    made.set_search_properties(None, None, PLANE, num_samples=40, seed=1)
    made.suggest("t")
    assert made._optimizer.get_parameters().get_budget() == 40
    assert made._optimizer.get_parameters().get_probability() == 0.5
    with pytest.raises(UsageError, match="how many trials"):
        ZOOptSearch(dim_dict=PLANE, metric="loss", mode="min").suggest("t")
    for wrong in ({"algo": "racos"}, {"parallel_num": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            ZOOptSearch(**wrong)  # type: ignore[arg-type]
