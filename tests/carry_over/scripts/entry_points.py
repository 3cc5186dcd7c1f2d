"""run, run_experiments, Experiment, Tuner, and the kinds of trainables."""

from __future__ import annotations

import datetime
import functools
import time
from pathlib import Path
from typing import Any

from lab import Counter, fit, iterations, raised, run, statuses, steps, tuner
from ray import tune


def case_run(place: Path) -> Any:
    found = run(steps, place, config={"x": tune.grid_search([2, 1, 3])}, metric="loss", mode="min")
    return [type(found).__name__, found.best_config, found.best_result["loss"], iterations(found), statuses(found)]


def case_tuner(place: Path) -> Any:
    grid = fit(steps, place, {"x": tune.grid_search([2, 1, 3])}, {"metric": "loss", "mode": "max"})
    best = grid.get_best_result()
    return [type(grid).__name__, len(grid), best.config, best.metrics["loss"], grid.num_errors, grid.num_terminated]


def case_run_experiments(place: Path) -> Any:
    spec = {"run": steps, "config": {"x": tune.grid_search([1, 2])}, "stop": {"training_iteration": 2}}
    trials = tune.run_experiments({"a": {**spec, "storage_path": str(place)}}, verbose=0)
    return [[t.last_result["loss"], t.status] for t in trials]


def case_experiment_object(place: Path) -> Any:
    experiment = tune.Experiment("e", steps, config={"x": 3}, num_samples=2, storage_path=str(place))
    found = tune.run(experiment, verbose=0)
    return [len(found.trials), sorted(p.name for p in place.iterdir() if p.is_dir())]


def case_several_experiments(place: Path) -> Any:
    both = [tune.Experiment(name, steps, config={"x": 3}, storage_path=str(place)) for name in ("one", "two")]
    return [[trial.last_result["loss"], trial.status] for trial in tune.run_experiments(both, verbose=0)]


def case_registered(place: Path) -> Any:
    tune.register_trainable("my_steps", steps)
    return iterations(run("my_steps", place))


def case_unknown_name(place: Path) -> Any:
    return raised(run, "nobody_registered_this", place)


def case_lambda(place: Path) -> Any:
    return run(lambda config: tune.report({"x": config["x"]}), place, config={"x": 7}).trials[0].last_result["x"]


def case_partial(place: Path) -> Any:
    def train(config: dict[str, Any], factor: int) -> None:
        tune.report({"y": config["x"] * factor})

    return run(functools.partial(train, factor=3), place, config={"x": 7}).trials[0].last_result["y"]


def case_wrong_arguments(place: Path) -> Any:
    sure = functools.partial(run, steps, place)
    return {
        "mode": raised(sure, metric="loss", mode="middle"),
        "concurrent": raised(sure, max_concurrent_trials=-1),
        "fail_fast": raised(sure, fail_fast=True, max_failures=2),
        "resume": raised(sure, resume="sometimes"),
        "stop": raised(sure, stop="later"),
        "stop keys": raised(sure, stop=3),
        "scheduler": raised(sure, scheduler="no_such_scheduler"),
        "searcher": raised(sure, search_alg="no_such_searcher"),
        "config": raised(sure, config=[1, 2]),
        "trainable": raised(run, 5, place),
        "tuner config": raised(tuner, steps, place, [1]),
        "tuner trainable": raised(lambda: tune.Tuner(None).fit()),
        "mode of TuneConfig": raised(fit, steps, place, {}, {"metric": "loss", "mode": "middle"}),
    }


def case_grid_times_samples(place: Path) -> Any:
    space = {"x": tune.grid_search([1, 2]), "y": tune.grid_search(["a", "b"])}
    return [trial.config for trial in run(steps, place, config=space, num_samples=2).trials]


def case_kinds_of_functions(place: Path) -> Any:
    def returns(config: dict[str, Any]) -> dict[str, Any]:
        return {"loss": 3}

    def returns_number(config: dict[str, Any]) -> float:
        return 4.0

    def yields(config: dict[str, Any]) -> Any:
        for n in range(3):
            yield {"loss": n}

    def yields_numbers(config: dict[str, Any]) -> Any:
        yield from (5, 6)

    def reports_then_returns(config: dict[str, Any]) -> dict[str, Any]:
        tune.report({"loss": 1})
        return {"loss": 2}

    found = {}
    for each in (returns, returns_number, yields, yields_numbers, reports_then_returns):
        last = run(each, place, name=each.__name__).trials[0].last_result
        found[each.__name__] = [last.get("loss"), last.get("_metric"), last["training_iteration"]]
    return found


def case_reports_nothing(place: Path) -> Any:
    def silent(config: dict[str, Any]) -> None: ...

    found = run(silent, place)
    last = found.trials[0].last_result
    return [statuses(found), last.get("done"), last.get("training_iteration"), len(found.results_df)]


def case_report_of_something_else(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report(3)

    return raised(run, train, place)


def case_no_report_outside(place: Path) -> Any:
    return [raised(tune.report, {"loss": 1}), raised(lambda: tune.get_context().get_trial_id())]


def case_stops(place: Path) -> Any:
    class At(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return result["step"] >= 3

        def stop_all(self) -> bool:
            return False

    stops = {
        "iteration": {"training_iteration": 2},
        "from below": {"step": 3},
        "first of two": {"step": 3, "training_iteration": 1},
        "never": {"step": 99},
        "function": lambda trial_id, result: result["loss"] < 0.6,
        "stopper": At(),
        "list": [At(), tune.stopper.MaximumIterationStopper(2)],
    }
    return {name: iterations(run(steps, place, name=name, stop=stop))[0] for name, stop in stops.items()}


def case_stop_by_a_nested_key(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for n in range(4):
            tune.report({"a": {"b": n}})

    return iterations(run(train, place, stop={"a/b": 2}))


def case_done_in_a_result(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for n in range(4):
            tune.report({"n": n, "done": n == 1})

    return iterations(run(train, place))


def case_time_budget(place: Path) -> Any:
    def endless(config: dict[str, Any]) -> None:
        while True:
            tune.report({"loss": 1})
            time.sleep(0.05)

    return [statuses(run(endless, place, time_budget_s=budget)) for budget in (2, datetime.timedelta(seconds=2))]


def case_endless_samples(place: Path) -> Any:
    class Five(tune.Stopper):
        def __init__(self) -> None:
            self.trials: set[str] = set()

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.trials.add(trial_id)
            return False

        def stop_all(self) -> bool:
            return len(self.trials) >= 5

    found = run(steps, place, config={"x": tune.uniform(0, 1)}, num_samples=-1, stop=Five())
    return len([trial for trial in found.trials if trial.last_result]) >= 5


def case_with_parameters(place: Path) -> Any:
    def train(config: dict[str, Any], data: Any = None, word: str = "") -> None:
        tune.report({"n": len(data) + config["x"], "word": word})

    class Mine(Counter):
        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            super().setup(config)
            self.count = len(data)

    first = run(tune.with_parameters(train, data=[0] * 9, word="w"), place, config={"x": 1}).trials[0].last_result
    second = run(tune.with_parameters(Mine, data=[0] * 9), place, name="b", stop={"training_iteration": 1}).trials[0]
    return [first["n"], first["word"], second.last_result["count"]]


def case_with_parameters_wrong(place: Path) -> Any:
    return [
        raised(tune.with_parameters, "text", data=1),
        raised(lambda: run(tune.with_parameters(steps, nobody_asks_for_it=1), place)),
    ]


def case_with_resources(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        given = tune.get_context().get_trial_resources()
        tune.report({"cpu": given.required_resources.get("CPU"), "bundles": given.bundles})

    def of_config(config: dict[str, Any]) -> dict[str, float]:
        return {"cpu": config["x"]}

    asked: dict[str, Any] = {
        "dict": {"cpu": 2},
        "bundles": tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}]),
        "function": lambda config: tune.PlacementGroupFactory([{"CPU": config["x"]}]),
    }
    found = {}
    for name, resources in asked.items():
        trainable = tune.with_resources(train, resources)
        last = run(trainable, place, name=name, config={"x": 2}).trials[0].last_result
        found[name] = [last["cpu"], last["bundles"]]
    return found


def case_resources_per_trial(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"cpu": tune.get_context().get_trial_resources().required_resources})

    found = {}
    for name, asked in {"none": None, "dict": {"cpu": 2}, "half": {"cpu": 0.5}}.items():
        found[name] = run(train, place, name=name, resources_per_trial=asked).trials[0].last_result["cpu"]
    return found


def case_of_the_context(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        context = tune.get_context()
        tune.report(
            {
                "name": context.get_experiment_name(),
                "same": context.get_trial_id() in context.get_trial_name(),
                "here": Path.cwd() == Path(context.get_trial_dir()),
            }
        )

    last = run(train, place).trials[0].last_result
    return [last["name"], last["same"], last["here"]]


def case_names_of_trials(place: Path) -> Any:
    found = run(
        steps,
        place,
        config={"x": tune.grid_search([1, 2])},
        trial_name_creator=lambda trial: f"mine_{trial.config['x']}",
        trial_dirname_creator=lambda trial: f"folder_{trial.config['x']}",
    )
    folders = sorted(path.name for path in (place / "exp").glob("folder_*"))
    return [[str(trial) for trial in found.trials], folders]


def case_a_path_as_dirname(place: Path) -> Any:
    return raised(run, steps, place, trial_dirname_creator=lambda trial: "a/b")


def case_default_dirnames(place: Path) -> Any:
    space = {"x": tune.grid_search([1.23456789]), "y": tune.choice(["a"]), "z": 5, "n": {"m": tune.grid_search([2])}}
    found = run(steps, place, config=space)
    trial = found.trials[0]
    name = Path(trial.path).name
    return [name.startswith(f"steps_{trial.trial_id}_{trial.experiment_tag}"), trial.experiment_tag]


def case_tags(place: Path) -> Any:
    space = {
        "long": tune.grid_search(["a_very_long_word_that_goes_on_and_on"]),
        "list": tune.grid_search([[1, 2]]),
        "small": tune.grid_search([0.000012345]),
        "flag": tune.choice([True]),
        "none": tune.choice([None]),
        "of": tune.sample_from(lambda spec: 3.0),
    }
    trial = run(steps, place, config=space).trials[0]
    return [trial.experiment_tag, trial.evaluated_params]


def case_progress_reporter(place: Path) -> Any:
    class Mine(tune.ProgressReporter):
        def __init__(self) -> None:
            self.calls: list[bool] = []

        def should_report(self, trials: Any, done: bool = False) -> bool:
            return True

        def report(self, trials: Any, done: bool, *sys_info: Any) -> None:
            self.calls.append(done)

    reporter = Mine()
    run(steps, place, progress_reporter=reporter, verbose=1)
    return [reporter.calls[-1], reporter.calls[:-1].count(True)]


def case_callbacks_must_be_callbacks(place: Path) -> Any:
    return raised(run, steps, place, callbacks=[object()])


def case_run_config_after_the_fact(place: Path) -> Any:
    asked = tuner(steps, place, {"x": 1})
    return [raised(asked.get_results), len(asked.fit()), len(asked.get_results())]


def case_a_tuner_of_a_class(place: Path) -> Any:
    return fit(Counter, place, {"x": 4}, stop={"training_iteration": 3})[0].metrics["loss"]


def case_reuse_of_processes(place: Path) -> Any:
    class Resets(Counter):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.count, self.config = 0, new_config
            return True

    space = {"x": tune.grid_search([1, 2, 3])}
    found = run(Resets, place, config=space, reuse_actors=True, stop={"training_iteration": 2})
    return [trial.last_result["loss"] for trial in found.trials]
