"""BlendSearch and CFO beside FLAML itself, and what only they have."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("flaml") is None:
    pytest.skip("flaml is not installed", allow_module_level=True)

import hpctune.space as s
from hpctune.errors import UsageError
from hpctune.search.adapters.isolation import quiet
from hpctune.search.flaml import CFO, BlendSearch
from tests.searchers.contract import PLANE, SearcherContract, square
from tests.searchers.driving import ask_and_tell


class TestBlendSearch(SearcherContract):
    kind = BlendSearch


class TestCFO(SearcherContract):
    kind = CFO


@pytest.mark.parametrize("kind", [BlendSearch, CFO])
def test_the_same_suggestions_as_flaml(kind: Any) -> None:
    tune = kind.library("tune")
    native = {"x": tune.uniform(0, 1), "y": tune.uniform(-1, 1)}
    renamed = {"p0": native["x"], "p1": native["y"]}  # local search goes by the order of names, not by the names
    expected = []
    with quiet():
        theirs = getattr(kind.library("tune.searcher.blendsearch"), kind.__name__)("m", "min", renamed, seed=5)
        for number in range(30):
            config = None
            while config is None:
                config = theirs.suggest(str(number))
            expected.append({"x": config["p0"], "y": config["p1"]})
            theirs.on_trial_complete(str(number), {"m": square(expected[-1]), "config": config})
    for space in (PLANE, {"x": tune.uniform(0, 1), "y": tune.uniform(-1, 1)}):
        assert ask_and_tell(kind("loss", "min", space, seed=5), square, 30) == expected


def test_begins_where_trials_are_cheap() -> None:
    space = {"model": {"x": s.uniform(0, 1)}, "y": s.choice(["a", "b"])}
    cheap = {"model": {"x": 0.125}, "y": "b"}
    searcher = CFO("loss", "min", space, low_cost_partial_config=cheap, cat_hp_cost={"y": [3, 2]})
    [config] = ask_and_tell(searcher, lambda config: 1.0, 1)
    assert config == {"model": {"x": pytest.approx(0.125)}, "y": "b"}
    assert list(searcher._search._ls.space["p1"].choice_cost) == [2, 3]  # FLAML sorts them


@pytest.mark.parametrize("kind", [BlendSearch, CFO])
def test_the_search_goes_on_from_the_best_of_several_points(kind: Any) -> None:
    points = [{"x": 0.25, "y": 0.5}, {"x": 0.65, "y": 0.25}, {"x": 0.125, "y": 0.25}]
    configs = ask_and_tell(kind("loss", "min", PLANE, points_to_evaluate=points), square, 12)
    assert configs[:3] == [pytest.approx(point) for point in points]
    assert min(map(square, configs[3:])) < 0.2


def test_constraints_of_configurations_and_of_results() -> None:
    kept = BlendSearch("loss", "min", PLANE, config_constraints=[(lambda config: config["x"], "<=", 0.5)])
    assert all(config["x"] <= 0.5 for config in ask_and_tell(kept, square, 25))
    searcher = BlendSearch("loss", "min", PLANE, metric_constraints=[("size", "<=", 1)], cost_attr="cost")
    for number in range(12):
        config: Any = searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"loss": square(config), "size": number % 3, "cost": 2})
    assert searcher._search._cost_used == 24
    assert searcher._search._metric_constraint_satisfied
    with pytest.raises(UsageError, match="metric_constraints holds triples"):
        BlendSearch(metric_constraints=[("size", "<", 1)])
