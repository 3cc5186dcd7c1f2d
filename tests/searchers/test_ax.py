"""AxSearch beside Ax itself, and what only it has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("ax") is None:
    pytest.skip("ax-platform is not installed", allow_module_level=True)

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.ax import AxSearch, _silent
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask, ask_and_tell

pytestmark = pytest.mark.timeout(900)
NATIVE = [
    {"name": "x", "type": "range", "bounds": [0.0, 1.0], "value_type": "float"},
    {"name": "y", "type": "range", "bounds": [-1.0, 1.0], "value_type": "float"},
]


class TestAx(SearcherContract):
    kind = AxSearch
    seed = "random_seed"
    trials = 8


def client(**more: Any) -> Any:
    service = AxSearch.library("service.ax_client")
    with _silent():
        made = service.AxClient(random_seed=5, verbose_logging=False)
        made.create_experiment(
            parameters=NATIVE, objectives={"loss": service.ObjectiveProperties(minimize=True)}, **more
        )
    return made


def test_the_same_suggestions_as_ax() -> None:
    expected = []
    theirs = client()
    with _silent():
        for _ in range(8):
            parameters, index = theirs.get_next_trial()
            expected.append(parameters)
            theirs.complete_trial(index, raw_data={"loss": (square(parameters), None)})
    for searcher in (
        AxSearch(PLANE, "loss", "min", random_seed=5),
        AxSearch(NATIVE, "loss", "min", random_seed=5),
        AxSearch(ax_client=client()),
    ):
        found = ask_and_tell(searcher, square, 8)
        assert found[:5] == expected[:5]
        for ours, other in zip(found, expected, strict=True):
            assert ours == pytest.approx(other, abs=1e-3)


def test_as_many_at_a_time_as_ax_allows() -> None:
    searcher = AxSearch(PLANE, "loss", "min", random_seed=1)
    assert len(ask(searcher, 9)) == 5


def test_constraints() -> None:
    space = {"net": {"x": s.uniform(0, 1)}, "y": s.uniform(0, 1), "n": s.quniform(0, 1, 0.1)}
    searcher = AxSearch(space, "loss", "min", parameter_constraints=["net/x + y <= 0.5"], random_seed=1)
    configs = ask_and_tell(searcher, lambda config: config["y"], 6)
    assert all(config["net"]["x"] + config["y"] <= 0.5 + 1e-6 for config in configs)
    with pytest.raises(SearchSpaceError, match="is about 'n'"):
        AxSearch(space, "loss", "min", parameter_constraints=["n <= 0.5"]).suggest("t")
    searcher = AxSearch(PLANE, "loss", "min", outcome_constraints=["size <= 3"], random_seed=1)
    ask(searcher, 3)
    searcher.on_trial_complete("t0", {"loss": 1.0, "size": 2})
    searcher.on_trial_complete("t1", {"loss": 1.0})
    searcher.on_trial_complete("t2", {"loss": 1.0, "size": float("nan")})
    states = [trial.status.name for trial in searcher._client.experiment.trials.values()]
    assert states == ["COMPLETED", "FAILED", "FAILED"]


def test_a_client_that_has_an_experiment_says_it_all() -> None:
    searcher = AxSearch(ax_client=client())
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    with pytest.raises(UsageError, match="has an experiment already"):
        AxSearch(PLANE, ax_client=client())
    with pytest.raises(UsageError, match="random_seed is for the AxClient that is made here"):
        AxSearch(ax_client=client(), random_seed=1)
    with pytest.raises(SearchSpaceError, match="takes a space of hpctune domains"):
        AxSearch([{"type": "range"}])
