"""Callbacks and loggers: which hooks are called, in which order, with what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lab import Counter, fit, raised, run, saving, steps
from ray import tune
from ray.tune import Callback, CheckpointConfig
from ray.tune.logger import LoggerCallback

HOOKS = [
    "on_trial_start",
    "on_trial_restore",
    "on_trial_save",
    "on_trial_result",
    "on_trial_complete",
    "on_trial_error",
    "on_trial_recover",
    "on_checkpoint",
    "on_experiment_end",
    "setup",
]


def listener(base: type = Callback) -> Any:
    """A callback that keeps the names of its calls and of their arguments."""
    heard: list[Any] = []

    def hook(name: str) -> Any:
        def method(self: Any, *positional: Any, **info: Any) -> None:
            result = info.get("result") or {}
            heard.append([name, sorted(info), result.get("training_iteration")])

        return method

    kind = type("Listens", (base,), {name: hook(name) for name in HOOKS})
    made = kind()
    made.heard = heard
    return made


def case_order(place: Path) -> Any:
    callback = listener()
    run(saving, place, config={"steps": 2}, callbacks=[callback])
    return [[name, iteration] for name, _, iteration in callback.heard]


def case_order_of_a_class(place: Path) -> Any:
    callback = listener()
    config = CheckpointConfig(checkpoint_frequency=2)
    run(Counter, place, stop={"training_iteration": 2}, checkpoint_config=config, callbacks=[callback])
    return [[name, iteration] for name, _, iteration in callback.heard]


def case_order_of_failures(place: Path) -> Any:
    callback = listener()
    space = {"fails_at": 2, "marker": str(place / "marker"), "steps": 2}
    run(saving, place, config=space, callbacks=[callback], max_failures=1)
    return [[name, iteration] for name, _, iteration in callback.heard]


def case_order_of_an_error(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        raise ValueError("by design")

    callback = listener()
    run(fails, place, callbacks=[callback], raise_on_failed_trial=False)
    return [name for name, _, _ in callback.heard]


def case_arguments(place: Path) -> Any:
    callback = listener()
    run(saving, place, config={"steps": 1}, callbacks=[callback])
    return {name: arguments for name, arguments, _ in callback.heard if name != "setup"}


def case_arguments_of_setup(place: Path) -> Any:
    told: list[str] = []

    class Told(Callback):
        def setup(self, **info: Any) -> None:
            told.extend(sorted(info))

    run(steps, place, callbacks=[Told()])
    return told


def case_loggers(place: Path) -> Any:
    heard: list[Any] = []

    class Mine(LoggerCallback):
        def log_trial_start(self, trial: Any) -> None:
            heard.append(["start", trial.config["x"]])

        def log_trial_restore(self, trial: Any) -> None:
            heard.append(["restore"])

        def log_trial_save(self, trial: Any) -> None:
            heard.append(["save"])

        def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
            heard.append(["result", result["training_iteration"], result["loss"]])

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            heard.append(["end", failed])

    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})
        if config["x"] == 2:
            raise ValueError("by design")

    run(train, place, config={"x": tune.grid_search([1, 2])}, callbacks=[Mine()], raise_on_failed_trial=False)
    return heard


def case_an_error_in_a_hook(place: Path) -> Any:
    class Fails(Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            raise KeyError("mine")

    return raised(run, steps, place, callbacks=[Fails()])


def case_default_loggers_off(place: Path) -> Any:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    try:
        trial = run(steps, place).trials[0]
    finally:
        del os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"]
    names = [path.name for path in Path(trial.path).iterdir()]
    return sorted(name for name in names if name in ("result.json", "progress.csv") or "tfevents" in name)


def case_chosen_loggers(place: Path) -> Any:
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    found = {}
    try:
        for each in (CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback):
            trial = run(steps, place, name=each.__name__, callbacks=[each()]).trials[0]
            names = [path.name for path in Path(trial.path).iterdir()]
            wanted = ("result.json", "progress.csv")
            found[each.__name__] = sorted({n if n in wanted else "events" for n in names if n in wanted or "tfev" in n})
    finally:
        del os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"]
    return found


def case_trials_of_a_hook(place: Path) -> Any:
    seen: list[Any] = []

    class Sees(Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            seen.append([trial.status, trial in trials, result["config"] == trial.config, result["done"]])

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            seen.append([trial.status, trial.last_result["step"]])

    fit(steps, place, {"steps": 2}, callbacks=[Sees()])
    return seen


def case_state_of_callbacks(place: Path) -> Any:
    class Keeps(Callback):
        count = 0

        def on_trial_result(self, *positional: Any, **info: Any) -> None:
            self.count += 1

        def get_state(self) -> dict[str, Any]:
            return {"count": self.count}

        def set_state(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    one = Keeps()
    run(steps, place, callbacks=[one])
    two = Keeps()
    two.set_state(one.get_state())
    return [one.count, two.count]
