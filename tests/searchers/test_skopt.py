"""SkOptSearch beside scikit-optimize itself, and what only it has."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec("skopt") is None:
    pytest.skip("scikit-optimize is not installed", allow_module_level=True)

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.skopt import SkOptSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell


class TestSkOpt(SearcherContract):
    kind = SkOptSearch


def test_the_same_suggestions_as_skopt() -> None:
    from skopt import Optimizer
    from skopt.space import Real

    native = {"x": Real(0.0, 1.0), "y": Real(-1.0, 1.0)}
    optimizer = Optimizer(list(native.values()), random_state=5)
    expected = []
    for _ in range(15):
        point = optimizer.ask()
        expected.append(dict(zip(native, point, strict=True)))
        optimizer.tell(point, square(expected[-1]))
    named = {"optimizer": Optimizer(list(native.values()), random_state=5), "space": list(native)}
    for given in ({"space": PLANE}, {"space": native}, named):
        searcher = SkOptSearch(**given, metric="loss", mode="min", seed=5)  # type: ignore[arg-type]
        assert ask_and_tell(searcher, square, 15) == expected


def test_trials_at_the_same_time_differ() -> None:
    searcher = SkOptSearch(space=PLANE, metric="loss", mode="min", seed=1)
    ask_and_tell(searcher, square, 11)
    configs = ask(searcher, 4, first=20)
    assert len({config["x"] for config in configs}) == 4


def test_arguments() -> None:
    from skopt import Optimizer

    with pytest.raises(UsageError, match=r"takes a skopt.Optimizer"):
        SkOptSearch(optimizer="GP")
    with pytest.raises(SearchSpaceError, match="list the names"):
        SkOptSearch(optimizer=Optimizer([(0.0, 1.0)]))
    with pytest.raises(SearchSpaceError, match="names 2 dimensions"):
        SkOptSearch(optimizer=Optimizer([(0.0, 1.0)]), space=["a", "b"])
