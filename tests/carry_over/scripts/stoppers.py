"""Stoppers, called as an experiment calls them, and in an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import iterations, raised, run, steps
from ray import tune
from ray.tune import stopper


def until(made: Any, values: list[Any], trial: str = "a") -> list[bool]:
    return [bool(made(trial, {"loss": value, "training_iteration": n})) for n, value in enumerate(values, 1)]


def case_iterations(place: Path) -> Any:
    made = stopper.MaximumIterationStopper(2)
    return [until(made, [1, 1, 1]), until(made, [1], "b"), made.stop_all()]


def case_plateau_of_a_trial(place: Path) -> Any:
    flat = [5, 4, 3, 3.001, 3.002, 3.001, 3.0, 3.0]
    return [
        until(stopper.TrialPlateauStopper("loss"), flat),
        until(stopper.TrialPlateauStopper("loss", std=0.01, num_results=3, grace_period=1), flat),
        until(stopper.TrialPlateauStopper("loss", num_results=2, metric_threshold=2, mode="min"), [3, 3, 3, 1, 1, 1]),
        until(stopper.TrialPlateauStopper("loss", num_results=2, metric_threshold=2, mode="max"), [1, 1, 1, 3, 3, 3]),
        raised(stopper.TrialPlateauStopper, "loss", metric_threshold=2),
    ]


def case_plateau_of_the_experiment(place: Path) -> Any:
    made = stopper.ExperimentPlateauStopper("loss", std=0.01, top=3, mode="min", patience=1)
    asked = [(until(made, [value])[0], made.stop_all()) for value in (5, 4, 3, 3, 3, 3, 3, 3)]
    wrong = {
        "mode": raised(stopper.ExperimentPlateauStopper, "loss", mode="middle"),
        "top": raised(stopper.ExperimentPlateauStopper, "loss", top=0),
        "patience": raised(stopper.ExperimentPlateauStopper, "loss", patience=-1),
        "std": raised(stopper.ExperimentPlateauStopper, "loss", std=-1),
    }
    return [asked, wrong]


def case_function(place: Path) -> Any:
    made = stopper.FunctionStopper(lambda trial_id, result: result["loss"] < 2)
    return [until(made, [3, 1]), made.stop_all(), raised(stopper.FunctionStopper, 3)]


def case_combined(place: Path) -> Any:
    made = stopper.CombinedStopper(
        stopper.MaximumIterationStopper(3), stopper.FunctionStopper(lambda trial_id, result: result["loss"] < 2)
    )
    return [until(made, [3, 1]), until(made, [3, 3, 3], "b"), made.stop_all()]


def case_timeout(place: Path) -> Any:
    long, none = stopper.TimeoutStopper(1000), stopper.TimeoutStopper(0)
    return [long("a", {}), long.stop_all(), none.stop_all(), raised(stopper.TimeoutStopper, "soon")]


def case_noop(place: Path) -> Any:
    made = stopper.NoopStopper()
    return [until(made, [1]), made.stop_all()]


def case_all_stop(place: Path) -> Any:
    class All(tune.Stopper):
        seen = 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.seen += 1
            return False

        def stop_all(self) -> bool:
            return self.seen >= 3

    found = run(steps, place, config={"x": tune.grid_search([1, 2, 3])}, stop=All())
    return [iterations(found)[0] >= 3, len(found.trials) >= 1, {trial.status for trial in found.trials}]


def case_a_dict_of_more(place: Path) -> Any:
    return [
        raised(run, steps, place, stop={"training_iteration": "two"}),
        iterations(run(steps, place, name="b", stop={})),
        iterations(run(steps, place, name="c", stop=None)),
    ]


def case_per_trial_functions(place: Path) -> Any:
    found = run(steps, place, config={"x": tune.grid_search([1, 4])}, stop=lambda trial_id, result: result["loss"] <= 1)
    return iterations(found)
