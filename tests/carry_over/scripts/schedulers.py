"""Schedulers: which trials stop and when, what a population does, own schedulers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lab import Counter, fit, iterations, raised, run, saving, statuses, steps
from ray import tune
from ray.tune import schedulers
from ray.tune.schedulers import TrialScheduler

WORST_FIRST = {"x": tune.grid_search([5, 1, 4, 2, 3, 0.5]), "steps": 9}
BEST_FIRST = {"x": tune.grid_search([0.5, 1, 2, 3, 4, 5]), "steps": 9}
TOLD = {"metric": "loss", "mode": "min"}


def far(place: Path, scheduler: Any, space: Any = BEST_FIRST, trainable: Any = steps, **options: Any) -> Any:
    return iterations(
        run(trainable, place, name=f"e{len(list(place.iterdir()))}", config=space, scheduler=scheduler, **options)
    )


def case_fifo(place: Path) -> Any:
    return [far(place, schedulers.FIFOScheduler()), far(place, "fifo"), far(place, None)]


def case_asha(place: Path) -> Any:
    made = {
        "default": {},
        "eta2": {"reduction_factor": 2},
        "grace": {"grace_period": 3, "reduction_factor": 3},
        "max_t": {"max_t": 5, "reduction_factor": 2},
        "keep": {"max_t": 4, "stop_last_trials": False},
        "by step": {"time_attr": "step", "reduction_factor": 3},
        "max": {"mode": "max"},
    }
    return {
        name: far(place, schedulers.ASHAScheduler(**{**TOLD, "max_t": 9, **options})) for name, options in made.items()
    }


def case_asha_other_order(place: Path) -> Any:
    return far(place, schedulers.AsyncHyperBandScheduler(**TOLD, max_t=9, reduction_factor=3), WORST_FIRST)


def case_asha_of_the_experiment(place: Path) -> Any:
    grid = fit(steps, place, BEST_FIRST, {**TOLD, "scheduler": schedulers.ASHAScheduler(max_t=9, reduction_factor=3)})
    return [result.metrics["training_iteration"] for result in grid]


def case_median(place: Path) -> Any:
    made = {
        "default": {},
        "early": {"grace_period": 1, "min_samples_required": 2},
        "one": {"grace_period": 2, "min_samples_required": 1},
    }
    given = {**TOLD, "time_attr": "training_iteration"}
    return {name: far(place, schedulers.MedianStoppingRule(**{**given, **more})) for name, more in made.items()}


def case_hyperband(place: Path) -> Any:
    band = schedulers.HyperBandScheduler(**TOLD, time_attr="training_iteration", max_t=9)
    return sorted(
        far(place, band, {"x": tune.grid_search([1, 2, 3, 4, 5, 6, 7, 8])}, Counter, max_concurrent_trials=None)
    )


def case_hyperband_of_a_function(place: Path) -> Any:
    band = schedulers.HyperBandScheduler(**TOLD, time_attr="training_iteration", max_t=9)
    return sorted(far(place, band, {"x": tune.grid_search([1, 2, 3]), "steps": 20}, saving, max_concurrent_trials=None))


def case_population(place: Path) -> Any:
    """The worse of two trials takes over the better one's checkpoint and a changed configuration."""

    class Learns(Counter):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "score": self.count * self.config["rate"], "rate": self.config["rate"]}

    def next_rate(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "rate": 7}

    pbt = schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        metric="score",
        mode="max",
        perturbation_interval=2,
        hyperparam_mutations={"rate": [1, 2, 5, 7]},
        custom_explore_fn=next_rate,
        quantile_fraction=0.5,
        synch=True,
    )
    space = {"rate": tune.grid_search([1, 5])}
    found = run(Learns, place, config=space, scheduler=pbt, stop={"training_iteration": 3}, max_concurrent_trials=2)
    return [statuses(found), sorted(trial.last_result["rate"] for trial in found.trials), iterations(found)]


def case_population_asks(place: Path) -> Any:
    pbt = schedulers.PopulationBasedTraining
    return [
        raised(pbt, **TOLD),
        raised(pbt, **TOLD, hyperparam_mutations={"a": 3}),
        raised(pbt, **TOLD, hyperparam_mutations={"a": [1]}, quantile_fraction=0.7),
        raised(pbt, **TOLD, hyperparam_mutations={"a": [1]}, perturbation_interval=0),
        raised(pbt, **TOLD, hyperparam_mutations={"a": tune.sample_from(lambda spec: 1)}),
        raised(pbt, **TOLD, hyperparam_mutations={"a": [1]}, resample_probability=2),
        raised(pbt, **TOLD, hyperparam_mutations={"a": [1]}, perturbation_factors=(1, 2, 3)),
    ]


def case_missing_metric(place: Path) -> Any:
    return [
        raised(far, place, schedulers.ASHAScheduler(metric="lss", mode="min")),
        raised(far, place, schedulers.ASHAScheduler()),
        raised(schedulers.ASHAScheduler, metric="loss", mode="middle"),
        raised(schedulers.ASHAScheduler, **TOLD, max_t=0),
        raised(schedulers.ASHAScheduler, **TOLD, grace_period=0),
        raised(schedulers.ASHAScheduler, **TOLD, max_t=1, grace_period=2),
        raised(schedulers.ASHAScheduler, **TOLD, reduction_factor=1),
        raised(schedulers.ASHAScheduler, **TOLD, brackets=0),
        raised(schedulers.HyperBandScheduler, **TOLD, max_t=0),
    ]


def case_names(place: Path) -> Any:
    names = ("fifo", "async_hyperband", "median_stopping_rule", "medianstopping", "hyperband", "hb_bohb")
    made = {name: type(tune.create_scheduler(name)).__name__ for name in names}
    made["pbt"] = type(tune.create_scheduler("pbt", hyperparam_mutations={"a": [1]})).__name__
    made["pb2"] = raised(tune.create_scheduler, "nobody")
    return made


def case_own(place: Path) -> Any:
    class Own(schedulers.FIFOScheduler):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[Any] = []

        def on_trial_add(self, controller: Any, trial: Any) -> None:
            self.heard.append(["add", trial.config["x"], trial.status])

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            self.heard.append(["result", trial.config["x"], result["training_iteration"]])
            ends = trial.config["x"] == 1 and result["training_iteration"] == 2
            return TrialScheduler.STOP if ends else TrialScheduler.CONTINUE

        def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
            self.heard.append(["complete", trial.config["x"], result["training_iteration"]])

        def on_trial_error(self, controller: Any, trial: Any) -> None:
            self.heard.append(["error", trial.config["x"]])

    own = Own()
    space = {"x": tune.grid_search([1, 2]), "steps": 3}
    return [far(place, own, space), [each for each in own.heard if each[0] != "add"]]


def case_a_trial_that_fails(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for n in range(1, 5):
            tune.report({"loss": config["x"]})
            if config["x"] == 2 and n == 2:
                raise ValueError("by design")

    asha = schedulers.ASHAScheduler(**TOLD, max_t=4, reduction_factor=2)
    found = run(train, place, config={"x": tune.grid_search([1, 2, 0])}, scheduler=asha, raise_on_failed_trial=False)
    return [iterations(found), statuses(found)]


def case_pausing(place: Path) -> Any:
    """A trial that pauses once goes on from its checkpoint when it is chosen again."""

    class Pauses(schedulers.FIFOScheduler):
        paused = False

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            if trial.config["x"] == 1 and result["training_iteration"] == 2 and not self.paused:
                self.paused = True
                return TrialScheduler.PAUSE
            return TrialScheduler.CONTINUE

    space = {"x": tune.grid_search([1, 2])}
    found = run(Counter, place, config=space, scheduler=Pauses(), stop={"training_iteration": 4})
    return [iterations(found), [trial.last_result["count"] for trial in found.trials], statuses(found)]


def case_changing_resources(place: Path) -> Any:
    def second_cpu(controller: Any, trial: Any, result: dict[str, Any], scheduler: Any) -> Any:
        return tune.PlacementGroupFactory([{"CPU": 2}]) if result["training_iteration"] >= 2 else None

    class Sees(Counter):
        def step(self) -> dict[str, Any]:
            time.sleep(0.05)
            cpus = self.trial_resources.required_resources["CPU"]
            return {**super().step(), "cpus": cpus, "done": cpus == 2 or self.count == 200}

    changing = schedulers.ResourceChangingScheduler(schedulers.FIFOScheduler(), second_cpu)
    found = run(Sees, place, scheduler=changing)
    last = found.trials[0].last_result
    return [last["count"] == last["training_iteration"], last["cpus"]]
