"""HEBOSearch beside HEBO itself, and what only it has."""

from __future__ import annotations

import random
from importlib.util import find_spec

import pytest

if find_spec("hebo") is None:
    pytest.skip("HEBO is not installed", allow_module_level=True)

import numpy as np
import pandas as pd

from hpctune.errors import UsageError
from hpctune.search.adapters.isolation import quiet
from hpctune.search.concurrency_limiter import ConcurrencyLimiter
from hpctune.search.hebo import HEBOSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell

pytestmark = pytest.mark.timeout(900)


class TestHEBO(SearcherContract):
    kind = HEBOSearch
    seed = "random_state_seed"
    arguments = {"rand_sample": 4, "max_concurrent": 4}
    trials = 8


def test_the_same_suggestions_as_hebo() -> None:
    import torch

    native = (
        HEBOSearch.library("design_space.design_space")
        .DesignSpace()
        .parse([{"name": "x", "type": "num", "lb": 0, "ub": 1}, {"name": "y", "type": "num", "lb": -1, "ub": 1}])
    )
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = []
    with quiet(also_stdout=True):
        optimizer = HEBOSearch.library("optimizers.hebo").HEBO(native, rand_sample=4, scramble_seed=5)
        for _ in range(7):
            found = optimizer.suggest(n_suggestions=1)
            expected.append(found.to_dict("records")[0])
            optimizer.observe(pd.DataFrame([expected[-1]]), np.array([[square(expected[-1])]]))
    for space in (PLANE, native):
        searcher = HEBOSearch(space, "loss", "min", random_state_seed=5, max_concurrent=1, rand_sample=4)
        assert ask_and_tell(searcher, square, 7) == expected


def test_a_batch_waits_for_the_last_one() -> None:
    searcher = HEBOSearch(PLANE, "loss", "min", max_concurrent=3)
    assert len(ask(searcher, 5)) == 3
    for number in range(2):
        searcher.on_trial_complete(f"t{number}", {"loss": 1.0})
        assert searcher.suggest("early") is None
    searcher.on_trial_complete("t2", None, error=True)
    assert len(ask(searcher, 5, first=10)) == 3
    limited = HEBOSearch(PLANE, "loss", "min")
    ConcurrencyLimiter(limited, max_concurrent=2)
    assert limited._batch == 2
    with pytest.raises(UsageError, match="max_concurrent"):
        HEBOSearch(max_concurrent=0)
