"""BayesOptSearch beside bayesian-optimization itself, and what only it has."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import pytest

if find_spec("bayes_opt") is None or find_spec("bayes_opt.acquisition") is None:
    pytest.skip("bayesian-optimization 3 is not installed", allow_module_level=True)

import numpy as np

import hpctune.space as s
from hpctune.errors import UsageError
from hpctune.search.bayesopt import BayesOptSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell


class TestBayesOpt(SearcherContract):
    kind = BayesOptSearch
    seed = "random_state"
    arguments = {"random_search_steps": 5, "patience": 50}
    trials = 8


def test_the_same_suggestions_as_bayesian_optimization() -> None:
    from bayes_opt import BayesianOptimization

    native = {"x": (0, 1), "y": (-1, 1)}
    optimizer = BayesianOptimization(None, native, random_state=np.random.RandomState(5), verbose=0)
    expected = [optimizer.suggest() for _ in range(6)]
    for config in expected:
        optimizer.register(config, -square(config))
    for _ in range(6):
        expected.append(optimizer.suggest())
        optimizer.register(expected[-1], -square(expected[-1]))
    for space in (PLANE, native):
        searcher = BayesOptSearch(space, "loss", "min", random_state=5, random_search_steps=6)
        assert ask_and_tell(searcher, square, 12) == [pytest.approx(config) for config in expected]


def test_waits_for_the_random_ones() -> None:
    searcher = BayesOptSearch(PLANE, "loss", "min", random_search_steps=3)
    configs = ask(searcher, 9)
    assert len(configs) == 3
    for number, config in enumerate(configs):
        assert searcher.suggest("early") is None
        searcher.on_trial_complete(f"t{number}", {"loss": square(config)} if number else None)
    assert isinstance(searcher.suggest("t3"), dict)


def test_ends_when_it_repeats_itself() -> None:
    space = {"n": s.randint(0, 3)}
    searcher = BayesOptSearch(space, "loss", "min", random_search_steps=1, patience=3)
    seen = []
    for number in range(20):
        config = searcher.suggest(str(number))
        if config == searcher.FINISHED:
            break
        assert isinstance(config, dict)
        seen.append(config["n"])
        assert searcher.suggest("meanwhile") is None or number > 0
        searcher.on_trial_complete(str(number), {"loss": config["n"]})
    assert sorted(seen) == sorted(set(seen))
    assert number <= 3
    twice = BayesOptSearch(space, "loss", "min", random_search_steps=1, patience=3, skip_duplicate=False)
    repeated = ask_and_tell(twice, lambda config: float(config["n"]), 4)
    assert len(repeated) == 4


def test_learns_from_an_analysis_first() -> None:
    trials = [SimpleNamespace(config={"x": x, "y": 0.2}, last_result={"loss": (x - 0.7) ** 2}) for x in (0.1, 0.5, 0.9)]
    searcher = BayesOptSearch(PLANE, "loss", "min", analysis=trials, random_search_steps=3)
    searcher.suggest("t")
    assert len(searcher._optimizer.space) == 3


def test_arguments() -> None:
    searcher = BayesOptSearch(PLANE, "loss", "min", utility_kwargs={"kind": "ei", "xi": 0.1})
    searcher.suggest("t")
    assert searcher._acquisition.xi == 0.1
    searcher = BayesOptSearch(PLANE, "loss", "min", utility_kwargs={"kappa": 3.0, "kappa_decay": 0.5})
    searcher.suggest("t")
    assert (searcher._acquisition.kappa, searcher._acquisition.exploration_decay) == (3.0, 0.5)
    for wrong, said in (
        ({"utility_kwargs": {"kind": "pi"}}, "'ucb', 'ei' or 'poi'"),
        ({"utility_kwargs": {"kapa": 1}}, "no 'kapa'"),
        ({"patience": 0}, "patience"),
        ({"repeat_float_precision": 1.5}, "repeat_float_precision"),
    ):
        with pytest.raises(UsageError, match=said):
            BayesOptSearch(**wrong)  # type: ignore[arg-type]
