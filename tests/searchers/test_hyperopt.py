"""HyperOptSearch beside HyperOpt itself, and what only it has."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import hyperopt
import numpy as np
import pytest
from hyperopt import hp

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search import HyperOptSearch
from tests.searchers.driving import ask, ask_and_tell

# HyperOpt 0.3.0 with numpy 2.5
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")

SPACE = {
    "x": s.uniform(0, 1),
    "net": {"lr": s.loguniform(1e-4, 1), "units": s.randint(1, 9)},
    "n": s.randn(0, 1),
    "model": s.choice([{"kind": "svm", "C": s.uniform(1, 9)}, {"kind": "rf", "depth": s.qrandint(2, 8, 2)}]),
    "act": s.choice(["a", "b"]),
}
NATIVE = {
    "x": hp.uniform("x", 0, 1),
    "net": {"lr": hp.loguniform("net/lr", math.log(1e-4), 0), "units": hp.quniform("net/units", 0.5, 8.5, 1)},
    "n": hp.normal("n", 0, 1),
    "model": hp.choice(
        "model",
        [
            {"kind": "svm", "C": hp.uniform("model/0/C", 1, 9)},
            {"kind": "rf", "depth": hp.quniform("model/1/depth", 1, 9, 2)},
        ],
    ),
    "act": hp.choice("act", ["a", "b"]),
}


def loss(config: Any) -> float:
    own = config["model"].get("C", 2) / 9 + config["model"].get("depth", 4) / 9
    return float((config["x"] - 0.7) ** 2 + 0.01 * config["net"]["units"] + config["n"] ** 2 + own)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_same_suggestions_as_hyperopt(sign: int) -> None:
    expected: list[Any] = []

    def tried(config: Any) -> float:
        expected.append(config)
        return sign * loss(config)

    hyperopt.fmin(
        tried,
        NATIVE,
        algo=partial(hyperopt.tpe.suggest, n_startup_jobs=10, gamma=0.5),
        max_evals=40,
        rstate=np.random.default_rng(11),
        show_progressbar=False,
    )
    for space in (SPACE, NATIVE):
        searcher = HyperOptSearch(
            space, "loss", "min" if sign == 1 else "max", n_initial_points=10, gamma=0.5, random_state_seed=11
        )
        configs = ask_and_tell(searcher, loss, 40)
        for ours, theirs in zip(configs, expected, strict=True):
            if space is SPACE and "depth" in theirs["model"]:  # an equal share for both ends needs values beyond
                theirs = {**theirs, "model": {**theirs["model"], "depth": min(max(theirs["model"]["depth"], 2), 8)}}
            assert ours == theirs


def test_points_of_a_space_of_expressions() -> None:
    point = {
        "x": 0.5,
        "net": {"lr": 0.1, "units": 3},
        "n": 0.1,
        "model": {"kind": "rf", "depth": 4},
        "act": "b",
    }
    searcher = HyperOptSearch(NATIVE, "loss", "min", points_to_evaluate=[point], random_state_seed=1)
    assert ask_and_tell(searcher, loss, 3)[0] == point
    searcher.add_evaluated_point({**point, "act": "a"}, 1.0)
    assert searcher._docs.losses()[-1] == 1.0
    for wrong, said in (
        ({**point, "act": "c"}, "sets 'act' to 'c', which HyperOpt cannot have drawn"),
        ({"x": 0.5}, "does not set 'net'"),
        ({**point, "z": 1}, "sets 'z'"),
    ):
        with pytest.raises(SearchSpaceError, match=said):
            HyperOptSearch(NATIVE, "loss", "min", points_to_evaluate=[wrong]).suggest("t")


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        (hp.uniform("a", 0, 1), (0, 0.5, 1.0), (-0.1, 2, "k", None, True, math.nan)),
        (hp.uniform("a", high=1, low=0), (0.5,), (2,)),
        (hp.quniform("a", 0, 10, 4), (0, 8, 12), (-4, 16)),
        (hp.loguniform("a", math.log(1e-4), 0), (1e-3, 0.5), (1e-5, 2)),
        (hp.qloguniform("a", 0, math.log(8), 1), (1, 8), (20,)),
        (hp.randint("a", 5), (0, 4), (-1, 5, 2.5)),
        (hp.randint("a", 2, 5), (2, 4), (1, 5)),
        (hp.uniformint("a", 1, 5), (1, 5), (0, 6, 2.5)),
        (hp.normal("a", 0, 1), (-9.0, 9), ("k",)),
        (hp.lognormal("a", 0, 1), (0.1, 99), (-1,)),
        (hp.pchoice("a", [(0.3, "x"), (0.7, "y")]), ("x", "y"), ("z", 2, -1, True)),
    ],
)  # fmt: skip
def test_bounds_of_expressions(expression: Any, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    for value in inside:
        searcher = HyperOptSearch({"a": expression}, "loss", "min", points_to_evaluate=[{"a": value}])
        assert ask_and_tell(searcher, lambda config: 1.0, 1)[0]["a"] == value
    for value in outside:
        with pytest.raises(SearchSpaceError, match="which HyperOpt cannot have drawn"):
            HyperOptSearch({"a": expression}, "loss", "min", points_to_evaluate=[{"a": value}]).suggest("t")


def test_a_constant_of_a_choice_may_be_given_by_its_number() -> None:
    space = {"act": hp.choice("act", ["relu", "tanh"]), "units": hp.choice("units", [1, 0])}
    searcher = HyperOptSearch(space, "loss", "min", points_to_evaluate=[{"act": 1, "units": 0}])
    first = ask_and_tell(searcher, lambda config: 1.0, 1)[0]
    assert first == {"act": "tanh", "units": 0}, "an option that is equal comes before a number"
    drawn = {"a": hp.choice("a", [{"k": hp.uniform("k", 0, 1)}])}
    with pytest.raises(SearchSpaceError, match=r"of hp\.choice the option itself"):
        HyperOptSearch(drawn, "loss", "min", points_to_evaluate=[{"a": 0}]).suggest("t")


def test_lists_and_integers_in_expressions() -> None:
    space = {
        "units": [hyperopt.pyll.scope.int(hp.quniform("u0", 1, 8, 1)), 7],
        "pick": hp.choice("pick", [("a", hp.uniform("inner", 0, 1)), "b"]),
    }
    point = {"units": [3, 7], "pick": ("a", 0.5)}
    searcher = HyperOptSearch(space, "loss", "min", points_to_evaluate=[point])
    config = ask(searcher, 1)[0]
    assert list(config["units"]) == [3, 7]
    assert tuple(config["pick"]) == ("a", 0.5)
    assert searcher.parameters == []


def test_a_failure_counts_as_bad() -> None:
    searcher = HyperOptSearch({"x": s.uniform(0, 1)}, "loss", "min")
    ask(searcher, 2)
    searcher.on_trial_complete("t0", {"loss": math.nan})
    searcher.on_trial_complete("t1", {"loss": 2.0})
    assert searcher._docs.results == [{"status": "fail"}, {"status": "ok", "loss": 2.0}]


def test_arguments() -> None:
    searcher = HyperOptSearch({"x": s.uniform(0, 1)}, "loss", "min", n_initial_points=None, gamma=None)
    assert searcher._options == {}
    assert len(ask_and_tell(searcher, lambda config: config["x"], 25)) == 25
    for wrong in ({"n_initial_points": -1}, {"n_initial_points": 1.5}, {"gamma": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            HyperOptSearch(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SearchSpaceError, match=r"expressions of hyperopt.hp"):
        HyperOptSearch({"x": 5})
