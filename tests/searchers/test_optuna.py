"""OptunaSearch beside Optuna itself, and what only it has."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import hpctune.space as s
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search import OptunaSearch, SearchGenerator
from hpctune.search.optuna import OptunaSearch as FromModule
from tests.searchers.driving import Experiment, ask, ask_and_tell

SPACE = {
    "x": s.uniform(0, 1),
    "net": {"lr": s.loguniform(1e-4, 1), "units": s.randint(1, 9), "step": s.qrandint(2, 10, 2)},
    "q": s.quniform(0, 1, 0.25),
    "act": s.choice(["a", "b", "c"]),
}
NATIVE = {
    "x": FloatDistribution(0, 1),
    "net/lr": FloatDistribution(1e-4, 1, log=True),
    "net/units": IntDistribution(1, 8),
    "net/step": IntDistribution(2, 10, step=2),
    "q": FloatDistribution(0, 1, step=0.25),
    "act": CategoricalDistribution(["a", "b", "c"]),
}


def loss(config: Any) -> float:
    return float((config["x"] - 0.7) ** 2 + 0.01 * config["net"]["units"] + (config["act"] == "b"))


def nested(params: Any) -> dict[str, Any]:
    net = {key: params[f"net/{key}"] for key in ("lr", "units", "step")}
    return {"x": params["x"], "net": net, "q": params["q"], "act": params["act"]}


def of_optuna(sampler: Any, direction: str, count: int, first: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Optuna suggests by itself."""
    study = optuna.create_study(sampler=sampler, direction=direction)
    for point in first:
        study.enqueue_trial(point)
    configs = []
    for _ in range(count):
        trial = study.ask(NATIVE)
        configs.append(nested(trial.params))
        study.tell(trial, loss(configs[-1]))
    return configs


@pytest.fixture(autouse=True)
def quiet() -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.mark.parametrize(("mode", "direction"), [("min", "minimize"), ("max", "maximize")])
def test_the_same_suggestions_as_optuna(mode: str, direction: str) -> None:
    expected = of_optuna(optuna.samplers.TPESampler(seed=11), direction, 40, [{"x": 0.5, "act": "c"}])
    for space in (SPACE, NATIVE):
        searcher = OptunaSearch(space, metric="loss", mode=mode, seed=11, points_to_evaluate=[{"x": 0.5, "act": "c"}])
        assert ask_and_tell(searcher, loss, 40) == expected
    assert OptunaSearch.convert_search_space(SPACE) == NATIVE


def test_a_sampler_of_the_users() -> None:
    theirs, ours = (optuna.samplers.NSGAIISampler(seed=4, population_size=4) for _ in range(2))
    space = {"x": s.uniform(0, 1), "y": s.uniform(0, 1)}
    study = optuna.create_study(sampler=theirs)
    expected = []
    for _ in range(20):
        trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
        expected.append(trial.params)
        study.tell(trial, trial.params["x"])
    assert ask_and_tell(OptunaSearch(space, "loss", "min", sampler=ours), lambda config: config["x"], 20) == expected
    with pytest.raises(UsageError, match="seed of its own"):
        OptunaSearch(sampler=ours, seed=1)
    with pytest.raises(UsageError, match="sampler takes"):
        OptunaSearch(sampler="tpe")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="storage takes"):
        OptunaSearch(storage=5)  # type: ignore[arg-type]


def define(trial: optuna.Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("model/kind", ["svm", "rf"])
    if kind == "svm":
        trial.suggest_float("model/C", 1e-2, 1e2, log=True)
    else:
        trial.suggest_int("model/depth", 1, 9)
    return {"data": "mnist"}


def test_define_by_run(tmp_path: Path) -> None:
    def cost(config: Any) -> float:
        model = config["model"]
        return float(model["depth"] if model["kind"] == "rf" else model["C"])

    points = [{"model": {"kind": "rf", "depth": 4}}, {"model/kind": "svm"}]
    searcher = OptunaSearch(define, "loss", "min", points_to_evaluate=points, seed=1)
    configs = ask_and_tell(searcher, cost, 30)
    assert configs[0] == {"model": {"kind": "rf", "depth": 4}, "data": "mnist"}
    assert set(configs[1]["model"]) == {"kind", "C"}
    assert min(map(cost, configs[15:])) < 0.1
    searcher.add_evaluated_point({"model": {"kind": "svm", "C": 2.0}}, 3.0, intermediate_values=[5.0, 4.0])
    told = searcher.study.trials[-1]
    assert (told.params, told.value, told.intermediate_values) == (
        {"model/kind": "svm", "model/C": 2.0},
        3.0,
        {0: 5.0, 1: 4.0},
    )
    quiet, killed = (
        Experiment(tmp_path / name, OptunaSearch(define, points_to_evaluate=points), {"k": 1}, cost, 20)
        for name in ("quiet", "killed")
    )
    expected = quiet.run()
    assert expected[0]["k"] == 1
    assert killed.run(kill_every=17) == expected
    with pytest.raises(UsageError, match="define-by-run function returns a dict"):
        OptunaSearch(lambda trial: 5, "loss", "min").suggest("t")  # type: ignore[arg-type, return-value]


def test_a_space_of_something_else_is_refused() -> None:
    for space in ({"x": FloatDistribution(0, 1), "y": 5}, [("x", 1)]):
        with pytest.raises(SearchSpaceError, match="Optuna distributions only"):
            OptunaSearch(space)  # type: ignore[arg-type]
    with pytest.raises(SearchSpaceError, match="'z', which is no parameter"):
        OptunaSearch(NATIVE, "loss", "min", points_to_evaluate=[{"z": 1}]).suggest("t")
    for name, distribution in NATIVE.items():
        with pytest.raises(SearchSpaceError, match=rf"points_to_evaluate\[0\] sets '{name}' to \[\], which is not in"):
            OptunaSearch(NATIVE, "loss", "min", points_to_evaluate=[{name: []}]).suggest("t")
        assert distribution is NATIVE[name]


def test_what_a_function_does_not_ask_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    points = [{"model/kind": "svm", "model/depth": 3, "lr": 1}, {"model": {"kind": "rf", "depth": 4}}]
    searcher = OptunaSearch(define, "loss", "min", points_to_evaluate=points, seed=1)
    first = searcher.suggest("t0")
    assert isinstance(first, dict)
    assert set(first["model"]) == {"kind", "C"}
    [told] = caplog.messages
    assert "points_to_evaluate[0] sets 'model/depth', 'lr', which trial t0 does not use" in told
    assert searcher.suggest("t1") == {"model": {"kind": "rf", "depth": 4}, "data": "mnist"}
    again = OptunaSearch(define, "loss", "min", points_to_evaluate=points, seed=1)
    again.on_suggestion_replayed("t0", first)
    assert again.suggest("t1") == {"model": {"kind": "rf", "depth": 4}, "data": "mnist"}
    assert len(caplog.messages) == 1


def test_several_metrics(tmp_path: Path) -> None:
    searcher = OptunaSearch({"x": s.uniform(-2, 2)}, metric=["a", "b"], mode=["min", "max"], seed=2)
    for number in range(30):
        [config] = ask(searcher, 1, number)
        x = config["x"]
        row = {"a": x**2, "b": None if number == 5 else -((x - 1) ** 2), "training_iteration": 1}
        searcher.on_trial_result(f"t{number}", row)
        searcher.on_trial_complete(f"t{number}", row)
    directions = [direction.name for direction in searcher.study.directions]
    assert directions == ["MINIMIZE", "MAXIMIZE"]
    states = [trial.state.name for trial in searcher.study.trials]
    assert states.count("COMPLETE") == 29
    assert states[5] == "PRUNED"
    assert all(-0.5 < trial.params["x"] < 1.5 for trial in searcher.study.best_trials)
    searcher.add_evaluated_point({"x": 0.5}, [0.25, -0.25])
    assert searcher.study.trials[-1].values == [0.25, -0.25]
    with pytest.raises(UsageError, match="one mode for each metric"):
        OptunaSearch(metric=["a", "b"], mode="min")


def test_intermediate_results_failures_and_evaluated_rewards() -> None:
    points = [{"x": 0.1}, {"x": 0.9}]
    searcher = OptunaSearch(
        {"x": s.uniform(0, 1)}, "loss", "max", points_to_evaluate=points, evaluated_rewards=[3.0, 5.0], seed=1
    )
    ask(searcher, 3)
    for step in (1, 2, 2):
        searcher.on_trial_result("t0", {"loss": 0.5 * step, "training_iteration": step})
    searcher.on_trial_result("t0", {"loss": float("nan"), "training_iteration": 3})
    searcher.on_trial_complete("t0", {"loss": 1.0})
    searcher.on_trial_complete("t1", {"loss": 1.0}, error=True)
    searcher.add_evaluated_point({"x": 0.3}, 7.0, pruned=True, intermediate_values=[6.0, 7.0])
    trials = searcher.study.trials
    assert [(t.params["x"], t.value, t.state.name) for t in trials[:2]] == [
        (0.1, 3.0, "COMPLETE"),
        (0.9, 5.0, "COMPLETE"),
    ]
    assert trials[2].intermediate_values == {1: 0.5, 2: 1.0}
    assert [trial.state.name for trial in trials[2:]] == ["COMPLETE", "PRUNED", "RUNNING", "PRUNED"]
    assert (trials[5].value, trials[5].intermediate_values) == (7.0, {0: 6.0, 1: 7.0})
    assert searcher.study.best_value == 5.0
    with pytest.raises(UsageError, match="evaluated_rewards has 1 entries, and points_to_evaluate 2"):
        OptunaSearch(points_to_evaluate=points, evaluated_rewards=[3.0])


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # SQLAlchemy leaves its connections open
def test_a_stored_study_is_found_again_and_has_no_trial_twice(tmp_path: Path) -> None:
    space = {"x": s.uniform(0, 1)}
    url = f"sqlite:///{tmp_path / 'study.db'}"
    experiment = Experiment(
        tmp_path / "exp",
        OptunaSearch(storage=url, study_name="mine", points_to_evaluate=[{"x": 0.5}]),
        space,
        lambda config: config["x"],
        15,
        at_a_time=2,
    )
    configs = experiment.run(kill_every=25)
    assert experiment.drivers > 2
    study = optuna.load_study(study_name="mine", storage=url)
    assert [trial.params for trial in study.trials] == configs
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert len({config["x"] for config in configs}) == 15
    again = OptunaSearch(storage=optuna.storages.RDBStorage(url), study_name="mine", mode="min", metric="loss")
    again.set_search_properties(None, None, space)
    assert ask(again, 1)
    assert len(again.study.trials) == 16
    del experiment, study, again
    gc.collect()


def test_the_study_of_the_newest_experiment(tmp_path: Path) -> None:
    searcher = OptunaSearch()
    Experiment(tmp_path / "exp", searcher, {"x": s.uniform(0, 1)}, lambda config: config["x"], 5).run()
    assert len(searcher.study.trials) == 5
    assert FromModule is OptunaSearch
    policy = SearchGenerator(searcher).bind({"y": s.uniform(0, 1)}, 1, 0, metric="m", mode="max")
    assert isinstance(policy.searcher, OptunaSearch)
    assert policy.searcher.study.trials == []
