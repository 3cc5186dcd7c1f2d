"""What is wrong with an experiment and can be known before it exists leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import RequestRejectedError, SearchSpaceError, TuneError, UsageError
from hpctune.schedulers import PB2, FIFOScheduler, PopulationBasedTraining, ResourceChangingScheduler
from hpctune.search import (
    BasicVariantGenerator,
    ConcurrencyLimiter,
    OptunaSearch,
    Repeater,
    Searcher,
    TPESearch,
)

X = {"x": tune.uniform(0, 1)}
BAD: Any = [{"x": 5}]


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    return tmp_path / "results"


def train(config: dict[str, Any]) -> None:
    tune.report(loss=1.0)


def run(**arguments: Any) -> tune.ExperimentAnalysis:
    given = {"config": X, "metric": "loss", "mode": "min", "verbose": 0, "name": "e", "num_samples": 2, **arguments}
    return tune.run(train, cluster=tune.LocalOptions(cpus=2), **given)


def fails(*_: Any) -> Any:
    raise RuntimeError("boom")


def pbt(mutations: Any = None, **more: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining("training_iteration", hyperparam_mutations=mutations, **more)


class Own(FIFOScheduler):
    def complete_config(self, index: int, config: Any) -> Any:
        return None


class Picky(Searcher):
    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        raise UsageError("I need more")


CASES: dict[str, tuple[Callable[[], dict[str, Any]], type[Exception], str]] = {
    "random": (lambda: {"search_alg": BasicVariantGenerator(points_to_evaluate=BAD)}, SearchSpaceError, "'x' to 5"),
    "tpe": (lambda: {"search_alg": TPESearch(points_to_evaluate=BAD)}, SearchSpaceError, "'x' to 5"),
    "optuna": (lambda: {"search_alg": OptunaSearch(points_to_evaluate=BAD)}, SearchSpaceError, "'x' to 5"),
    "limited": (
        lambda: {"search_alg": ConcurrencyLimiter(TPESearch(points_to_evaluate=BAD), 2)},
        SearchSpaceError,
        "'x' to 5",
    ),
    "repeated": (lambda: {"search_alg": Repeater(TPESearch(points_to_evaluate=BAD), 2)}, SearchSpaceError, "'x' to 5"),
    "evaluated": (
        lambda: {"search_alg": TPESearch(points_to_evaluate=BAD, evaluated_rewards=[1.0])},
        SearchSpaceError,
        "'x' to 5",
    ),
    "a searcher of the user": (lambda: {"search_alg": Picky()}, UsageError, "I need more"),
    "a grid in a choice": (
        lambda: {"config": {"x": tune.choice([*range(9), {"y": tune.grid_search([1])}])}},
        SearchSpaceError,
        "'x' holds a grid_search .at 'x/y'",
    ),
    "a grid in a choice in a grid": (
        lambda: {"config": {"g": tune.grid_search([1, {"x": tune.choice([1, tune.grid_search([1])])}])}},
        SearchSpaceError,
        "'g/x' holds a grid_search .at 'g/x'",
    ),
    "sample_from at a later grid point": (
        lambda: {"config": {"a": tune.grid_search([1, 0]), "x": tune.sample_from(lambda spec: 1 / spec.config.a)}},
        SearchSpaceError,
        "'x' failed with ZeroDivisionError",
    ),
    "sample_from of a searcher with a model": (
        lambda: {"config": {**X, "y": tune.sample_from(lambda spec: spec.config.nope)}, "search_alg": "tpe"},
        SearchSpaceError,
        "'y' failed with AttributeError",
    ),
    "a mutation": (
        lambda: {"scheduler": pbt({"x": fails})},
        UsageError,
        "hyperparam_mutations.'x'. gives no value: RuntimeError: boom",
    ),
    "a mutation of what is drawn at the start": (
        lambda: {"scheduler": pbt({"q": {"r": lambda: 1 / 0}})},
        UsageError,
        "hyperparam_mutations.'q/r'. gives no value: ZeroDivisionError",
    ),
    "a mutation of a scheduler in another": (
        lambda: {"scheduler": ResourceChangingScheduler(pbt({"x": fails}))},
        UsageError,
        "hyperparam_mutations.'x'. gives no value",
    ),
    "a nested mutation of a value": (
        lambda: {"scheduler": pbt({"x": {"y": [1, 2]}})},
        UsageError,
        "hyperparam_mutations.'x'. is a dict, but in the search space 'x' is a value",
    ),
    "a mutation of a dict": (
        lambda: {"config": {"x": X}, "scheduler": pbt({"x": [1, 2]})},
        UsageError,
        "is one value, but in the search space 'x' is a dict",
    ),
    "a bound of a dict": (
        lambda: {"config": {"x": X}, "scheduler": PB2("training_iteration", hyperparam_bounds={"x": [0.0, 1.0]})},
        UsageError,
        "is one value, but in the search space 'x' is a dict",
    ),
    "a mutation of a number to texts": (
        lambda: {"scheduler": pbt({"x": ["a", "b"]})},
        UsageError,
        "hyperparam_mutations.'x'. gives 'a', but trials begin with a number: x=",
    ),
    "a nested mutation of a text to a number": (
        lambda: {"config": {"m": {"act": tune.choice(["relu", "tanh"])}}, "scheduler": pbt({"m": {"act": lambda: 1}})},
        UsageError,
        "hyperparam_mutations.'m'..'act'. gives 1, but trials begin with text: act=",
    ),
    "explore": (lambda: {"scheduler": pbt(custom_explore_fn=lambda config: None)}, UsageError, "must return the new"),
    "explore fails": (lambda: {"scheduler": pbt(custom_explore_fn=fails)}, UsageError, "custom_explore_fn failed for"),
    "explore with a model": (
        lambda: {"scheduler": pbt(custom_explore_fn=fails), "search_alg": "tpe"},
        UsageError,
        "custom_explore_fn failed for",
    ),
    "a scheduler of the user": (lambda: {"scheduler": Own()}, UsageError, "Own.complete_config must return a config"),
    "resources": (lambda: {"resources_per_trial": fails}, TuneError, "resources_per_trial failed for .*boom"),
    "resources with a model": (
        lambda: {"resources_per_trial": lambda config: {"cpu": 9999}, "search_alg": "tpe"},
        RequestRejectedError,
        "9999 CPUs",
    ),
    "resources of a later trial": (
        lambda: {
            "config": {"a": tune.grid_search([1, 9999])},
            "resources_per_trial": lambda config: {"cpu": config["a"]},
        },
        RequestRejectedError,
        "9999 CPUs",
    ),
    "a name with a model": (
        lambda: {"trial_name_creator": fails, "search_alg": "tpe"},
        TuneError,
        "trial_name_creator",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_made(case: str, results: Path) -> None:
    make, error, said = CASES[case]
    with pytest.raises(error, match=said):
        run(**make())
    assert not (results / "e").exists()
    assert [trial.last_result["loss"] for trial in run().trials] == [1.0, 1.0], "mended, under the same name"


def test_what_is_not_a_list_of_points() -> None:
    for bad in (5, {"x": 1}, [5]):
        with pytest.raises(UsageError, match="points_to_evaluate is a list of configurations"):
            BasicVariantGenerator(points_to_evaluate=bad)  # type: ignore[arg-type]


def test_the_objects_of_the_experiment_stay_unused() -> None:
    seen: list[int] = []

    class Counting(FIFOScheduler):
        asked = 0

        def complete_config(self, index: int, config: Any) -> Any:
            self.asked += 1
            seen.append(self.asked)
            return config

    run(scheduler=Counting())
    assert seen == [1, 2, 1, 2], "a copy was asked first"


@pytest.mark.parametrize("command", ["python -c pass --lr {lrr}", "echo '{\"a\": 1}' {x}", ["echo", "{x"]])
def test_a_command_with_a_field_that_no_trial_has(results: Path, command: Any) -> None:
    with pytest.raises(UsageError, match="Write a literal brace twice"):
        tune.run(tune.Command(command), config=X, metric="loss", mode="min", verbose=0, cluster="local")
    assert not results.exists()


def test_a_field_that_some_trials_have_is_left_to_the_run() -> None:
    space = {"kind": tune.grid_search([{"a": 1}, {"b": 2}])}
    found = tune.run(
        tune.Command("echo hpctune: loss={kind/a}"), config=space, metric="loss", mode="min", verbose=0,
        cluster="local", raise_on_failed_trial=False,
    )  # fmt: skip
    assert [trial.status for trial in found.trials] == ["TERMINATED", "ERROR"]
