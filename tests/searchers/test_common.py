"""What every searcher on a model does: spaces, points, seeds, failures, and resuming."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune.space as s
from hpctune.errors import MissingPackageError, SearchSpaceError, UsageError
from hpctune.search import (
    ConcurrencyLimiter,
    HyperOptSearch,
    OptunaSearch,
    Repeater,
    Searcher,
    SearchGenerator,
    Suggestion,
    TuneBOHB,
)
from hpctune.search.adapters.library import LibrarySearcher
from tests.searchers.domains import PLAIN_DOMAINS
from tests.searchers.driving import Experiment, ask, ask_and_tell
from tests.searchers.problems import PROBLEMS

# HyperOpt 0.3.0 with numpy 2.5
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")

Make = Callable[..., LibrarySearcher]


def optuna(space: Any = None, seed: int | None = 3, **more: Any) -> LibrarySearcher:
    return OptunaSearch(space, metric="loss", mode=more.pop("mode", "min"), seed=seed, **more)


def hyperopt(space: Any = None, seed: int | None = 3, **more: Any) -> LibrarySearcher:
    return HyperOptSearch(
        space, metric="loss", mode=more.pop("mode", "min"), random_state_seed=seed, n_initial_points=8, **more
    )


def bohb(space: Any = None, seed: int | None = 3, **more: Any) -> LibrarySearcher:
    return TuneBOHB(space, metric="loss", mode=more.pop("mode", "min"), seed=seed, **more)


every = pytest.mark.parametrize("make", [optuna, hyperopt, bohb])

DOMAINS = {
    **PLAIN_DOMAINS,
    "choice of lists": s.choice([[1, 2], (3,), {"k": [4]}]),
    "choice of equals": s.choice([1, True, 1.0, "1"]),
}
TREE = {
    "x": s.uniform(0, 1),
    "net": {"layers": [s.randint(1, 4), 7, {"act": s.choice(["relu", "tanh"])}], "const": 3},
    "model": s.choice(
        [
            {"kind": "svm", "C": s.loguniform(1, 100), "kernel": {"degree": s.randint(1, 4)}},
            {"kind": "rf", "depth": s.choice(["free", s.randint(2, 5)])},
            "none",
        ]
    ),
    "data": "mnist",
}


def square(config: Any) -> float:
    return float((config["x"] - 0.7) ** 2)


@every
@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_is_searched_within_its_bounds(make: Make, name: str) -> None:
    domain = DOMAINS[name]
    if make is optuna and "randn" in name:
        with pytest.raises(SearchSpaceError, match=r"OptunaSearch cannot search 'p'.*Use uniform"):
            make({"p": domain})
        return
    searcher = make({"p": domain})
    configs = ask_and_tell(searcher, lambda config: float(len(repr(config["p"]))), 60)
    assert all(domain.is_valid(config["p"]) for config in configs)
    kinds = {type(option) for option in getattr(domain, "categories", [])} or {type(domain.sample(1))}
    assert {type(config["p"]) for config in configs} <= kinds


@every
def test_bounds_are_those_of_the_domain(make: Make) -> None:
    searcher = make({"n": s.randint(0, 3), "q": s.qrandint(0, 4, 2), "c": s.choice("xyz"[:2].split("y"))})
    configs = ask_and_tell(searcher, lambda config: 1.0, 60)
    assert {config["n"] for config in configs} == {0, 1, 2}
    assert {config["q"] for config in configs} == {0, 2, 4}


@every
def test_nested_lists_constants_and_conditions(make: Make) -> None:
    policy = SearchGenerator(make()).bind(TREE, 80, 0)
    seen = set()
    for index in range(60):
        answer = policy.suggest(index, str(index))
        assert isinstance(answer, Suggestion)
        config, model = answer.config, answer.config["model"]
        assert config["data"] == "mnist"
        assert config["net"]["const"] == 3
        assert config["net"]["layers"][0] in (1, 2, 3)
        assert config["net"]["layers"][1] == 7
        assert config["net"]["layers"][2]["act"] in ("relu", "tanh")
        assert "data" not in answer.evaluated
        if model != "none":
            assert set(model) == ({"kind", "C", "kernel"} if model["kind"] == "svm" else {"kind", "depth"})
            seen.add(type(model.get("depth")) if model["kind"] == "rf" else "svm")
        policy.on_complete(str(index), {"loss": config["x"]}, False)
    assert seen == {"svm", str, int}
    assert make(TREE).suggest("t")["data"] == "mnist"  # type: ignore[index]


@every
def test_what_cannot_be_searched_is_named(make: Make) -> None:
    for space, said in (
        ({"a": {"g": s.grid_search([1, 2])}, "x": s.uniform(0, 1)}, r"'a/g': it is a grid_search.*choice"),
        ({"f": s.sample_from(lambda spec: 1)}, r"'f': it is a sample_from"),
        ({"a/b": s.uniform(0, 1), "a": {"b": s.uniform(0, 1)}}, r"Two parameters .* 'a/b'"),
        ({"x": 3}, r"holds hpctune domains|takes a space of hpctune domains"),
    ):
        with pytest.raises(SearchSpaceError, match=said):
            make(space)
    with pytest.raises(SearchSpaceError, match="has no search space"):
        make().suggest("t")
    with pytest.raises(SearchSpaceError, match="has no search space"):
        SearchGenerator(make()).bind({"x": 3}, 1, 0)
    with pytest.raises(SearchSpaceError, match=r"such as 'y'.*space of its own"):
        SearchGenerator(make({"x": s.uniform(0, 1)})).bind({"y": s.uniform(0, 1)}, 1, 0)
    searcher = make()
    assert searcher.set_search_properties(None, None, TREE)
    assert searcher.set_search_properties(None, None, dict(TREE))
    with pytest.raises(SearchSpaceError, match="another space"):
        searcher.set_search_properties(None, None, {"x": s.uniform(0, 2)})


@pytest.mark.parametrize("kind", [OptunaSearch, HyperOptSearch, TuneBOHB])
def test_the_objective_comes_from_the_experiment_or_is_asked_for(kind: Any) -> None:
    space = {"x": s.uniform(0, 1)}
    with pytest.raises(UsageError, match="needs both"):
        kind(space).suggest("t")
    with pytest.raises(UsageError, match="needs both"):
        SearchGenerator(kind(metric="loss")).bind(space, 1, 0)
    policy = SearchGenerator(kind(mode="max")).bind(space, 1, 0)
    assert policy.searcher.metric == "_metric"
    policy = SearchGenerator(kind()).bind(space, 1, 0, metric="m", mode="max")
    assert (policy.searcher.metric, policy.searcher.mode) == ("m", "max")
    if kind is not OptunaSearch:
        with pytest.raises(UsageError, match="optimizes one metric"):
            kind(space, metric=["a", "b"], mode=["min", "max"]).suggest("t")


@every
def test_points_come_first_and_are_completed(make: Make) -> None:
    points = [
        {"x": 0.25, "net": {"layers": [2, 7, {"act": "tanh"}]}, "model": {"kind": "rf", "depth": 3}, "data": "mnist"},
        {"x": 0.5, "net/layers/0": 3},
        {"model": "none"},
    ]
    searcher = make(TREE, points_to_evaluate=points)
    first, second, third, fourth = ask_and_tell(searcher, square, 4)
    assert first["x"] == 0.25
    assert first["net"]["layers"] == [2, 7, {"act": "tanh"}]
    assert first["model"] == {"kind": "rf", "depth": 3}
    assert (second["x"], second["net"]["layers"][0]) == (0.5, 3)
    assert second["net"]["layers"][2]["act"] in ("relu", "tanh")
    assert third["model"] == "none"
    assert fourth["x"] not in (0.25, 0.5)
    assert ask_and_tell(make(TREE, points_to_evaluate=points), square, 4) == [first, second, third, fourth]


@every
@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"z": 1}, r"points_to_evaluate\[0\] sets 'z', which is no parameter"),
        ({"x": 2}, r"sets 'x' to 2, which is not in Float"),
        ({"x": "a"}, r"sets 'x' to 'a'"),
        ({"model": {"kind": "svm", "C": 1000, "kernel": {"degree": 1}}}, r"sets 'model' to .* none of"),
        ({"data": "cifar"}, r"sets 'data'"),
    ],
)
def test_wrong_points_are_named(make: Make, point: dict[str, Any], said: str) -> None:
    with pytest.raises(SearchSpaceError, match=said):
        make(TREE, points_to_evaluate=[point]).suggest("t")


@every
def test_arguments_are_checked(make: Make) -> None:
    for bad in (5, {"x": 1}, [5]):
        with pytest.raises((UsageError, TypeError), match=r"points_to_evaluate|iterable"):
            make(TREE, points_to_evaluate=bad)
    for seed in (-1, 1.5, 2**32, True):
        with pytest.raises(UsageError, match="seed"):
            make(TREE, seed=seed)
    with pytest.raises(UsageError, match="mode"):
        make(TREE, mode="best")


@every
@pytest.mark.parametrize("mode", ["min", "max"])
def test_it_learns_and_from_what_was_evaluated_elsewhere(make: Make, mode: str) -> None:
    sign = 1 if mode == "min" else -1
    space = {"x": s.uniform(0, 1)}

    def far(configs: list[dict[str, Any]]) -> float:
        return sum(abs(config["x"] - 0.7) for config in configs) / len(configs)

    searcher = make(space, mode=mode)
    configs = ask_and_tell(searcher, lambda config: sign * square(config), 60)
    assert far(configs[30:]) < 0.7 * far(configs[:8])
    warm = make(mode=mode)
    for step in range(41):  # before it knows its space
        warm.add_evaluated_point({"x": step / 40, "constant": 1}, sign * square({"x": step / 40}))
    warm.add_evaluated_point({"x": 0.1}, -sign * 100.0, error=True)
    SearchGenerator(warm)  # takes what derives from Searcher
    assert warm.set_search_properties(None, None, {**space, "constant": 1})
    assert far(ask(warm, 20)) < 0.2  # random numbers have 0.29
    with pytest.raises(SearchSpaceError, match="must be complete"):
        warm.add_evaluated_point({"constant": 1}, 1.0)


@every
def test_the_seed_fixes_the_suggestions(make: Make) -> None:
    runs = [ask_and_tell(make(TREE, seed=seed), square, 30) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    of_experiment = [
        [SearchGenerator(make(seed=own)).bind(TREE, 5, seed).suggest(0, "t") for seed in (1, 1, 2)] for own in (None, 4)
    ]
    assert of_experiment[0][0] == of_experiment[0][1] != of_experiment[0][2]
    assert of_experiment[1][0] == of_experiment[1][1] == of_experiment[1][2]


@every
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "bad"])
def test_failures_and_odd_values_do_no_harm(make: Make, value: Any) -> None:
    """Half of the trials fail, or report what is no number: the others are learned from."""

    def loss(config: Any) -> Any:
        return value if config["x"] < 0.5 else square(config)

    configs = ask_and_tell(make({"x": s.uniform(0, 1)}), loss, 50)
    good = [config["x"] for config in configs[20:] if config["x"] >= 0.5]
    assert len(good) >= 10
    assert sum(abs(x - 0.7) for x in good) / len(good) < 0.15


@every
def test_a_missing_metric_and_strangers_do_no_harm(make: Make) -> None:
    searcher = make({"x": s.uniform(0, 1)})
    searcher.on_trial_result("stranger", {"loss": 1.0, "training_iteration": 1})
    searcher.on_trial_complete("stranger", {"loss": 1.0})
    ask(searcher, 3)
    searcher.on_trial_result("t0", {"other": 1.0, "training_iteration": 1})
    searcher.on_trial_complete("t0", {"other": 1.0})
    searcher.on_trial_complete("t0", {"loss": 1.0})
    searcher.on_trial_complete("t1", None)
    searcher.on_trial_complete("t2", {"loss": {"nested": 1}})
    assert ask(searcher, 1, 3)


@every
def test_state_survives_a_file(make: Make, tmp_path: Path) -> None:
    searcher = make(TREE, points_to_evaluate=[{"x": 0.5}])
    ask_and_tell(searcher, square, 25)
    ask(searcher, 1, 25)
    searcher.save(tmp_path / "state.pkl")
    again = make(seed=99)
    again.restore(tmp_path / "state.pkl")
    for each in (searcher, again):
        each.on_trial_complete("t25", {"loss": 0.0})
    assert ask_and_tell(again, square, 10, first=26) == ask_and_tell(searcher, square, 10, first=26)


@every
def test_a_killed_driver_changes_nothing(make: Make, tmp_path: Path) -> None:
    problem = PROBLEMS[2]
    points = [{"batch": 32}, {"scaling": "minmax"}]
    quiet, killed = (
        Experiment(tmp_path / name, make(seed=None, points_to_evaluate=points), problem.space, problem.loss, 30)
        for name in ("quiet", "killed")
    )
    expected = quiet.run()
    assert killed.run(kill_every=23) == expected
    assert killed.drivers > 3
    assert len({repr(config) for config in expected}) == 30


@every
def test_a_replayed_searcher_goes_on_as_the_one_that_was_never_killed(make: Make, tmp_path: Path) -> None:
    """With many trials at a time, whose results come in any order."""
    problem = PROBLEMS[2]
    experiment = Experiment(tmp_path / "exp", make(seed=None), problem.space, problem.loss, 40, at_a_time=6)
    experiment.run()
    live = experiment.searcher.used
    replayed = experiment.replayed().searcher
    assert live is not replayed
    assert ask(replayed, 5) == ask(live, 5)


@every
def test_a_record_that_differs_takes_the_place_of_the_answer(make: Make) -> None:
    """As where the library has changed since: the recorded configuration is what the searcher learns from."""
    searcher, odd = make(TREE), {"x": 0.123, "net": {"layers": [1, 7, {"act": "relu"}]}, "model": "none", "data": 1}
    searcher.on_suggestion_replayed("t", odd)
    assert searcher._pending["t"]["x"] == 0.123
    searcher.on_trial_complete("t", {"loss": 1.0})
    assert len(ask_and_tell(searcher, square, 20)) == 20


@every
def test_what_a_changed_space_has_no_place_for_is_left_out(make: Make) -> None:
    searcher = make({"x": s.uniform(0, 1), "new": s.choice([1, 2])}, points_to_evaluate=[{"x": 0.5}, {"x": 0.25}])
    searcher.on_suggestion_replayed("t", {"x": 7.0, "new": 1})
    searcher.on_suggestion_replayed("u", {"x": 0.5, "old": 1})
    assert searcher._pending == {}
    for trial_id in "tu":
        searcher.on_trial_result(trial_id, {"loss": 1.0, "training_iteration": 1})
        searcher.on_trial_complete(trial_id, {"loss": 1.0})
    configs = ask_and_tell(searcher, square, 20)
    assert configs[0]["x"] == 0.25, "the point that was not tried is tried"
    assert 0.5 not in [config["x"] for config in configs]


@every
def test_each_experiment_gets_a_copy(make: Make, tmp_path: Path) -> None:
    """One searcher object for two experiments in a process, one after the other."""
    space, searcher = {"x": s.uniform(0, 1)}, make()
    first = Experiment(tmp_path / "1", searcher, space, square, 12)
    configs = first.run()
    searcher.save(tmp_path / "learned")
    assert Experiment(tmp_path / "2", searcher, space, square, 12).run() == configs
    learned = make()
    learned.restore(tmp_path / "learned")
    assert Experiment(tmp_path / "3", learned, space, square, 12).run()[0] not in configs


@every
def test_limiter_and_repeater_work_with_it_and_survive_a_kill(make: Make, tmp_path: Path) -> None:
    space = {"x": s.uniform(0, 1)}

    def wrapped() -> Searcher:
        return Repeater(ConcurrencyLimiter(make(seed=None), 1), 2)

    quiet, killed = (
        Experiment(tmp_path / name, wrapped(), space, square, 24, at_a_time=4) for name in ("quiet", "killed")
    )
    expected = quiet.run()
    assert killed.run(kill_every=31) == expected
    assert [config["__trial_index__"] for config in expected] == [0, 1] * 12
    assert [config["x"] for config in expected[::2]] == [config["x"] for config in expected[1::2]]
    assert len({config["x"] for config in expected}) == 12


@pytest.mark.parametrize(("kind", "extra"), [(OptunaSearch, "optuna"), (HyperOptSearch, "hyperopt")])
def test_a_missing_package_is_named_with_the_command(kind: Any, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(MissingPackageError, match=re.escape(f"pip install 'hpctune[{extra}]'")):
        kind()


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hyperopt.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hyperopt", raising=False)
    with pytest.raises(MissingPackageError, match=r"installed but cannot be imported.*no_such_module_at_all"):
        HyperOptSearch()
