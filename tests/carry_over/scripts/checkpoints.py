"""Checkpoints: which are made, which are kept, what they hold; failures and where trials go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab import Counter, fit, iterations, raised, run, saving, statuses, steps
from ray import tune
from ray.tune import Checkpoint, CheckpointConfig, FailureConfig


def kept(trial_or_result: Any) -> list[int]:
    """What is on disk: the steps of the checkpoints, or their number."""
    folders = sorted(Path(trial_or_result.path).glob("checkpoint_*"))
    states = [folder / "state.json" for folder in folders]
    return [json.loads(state.read_text())["step"] if state.exists() else 0 for state in states]


def content(checkpoint: Any) -> Any:
    with checkpoint.as_directory() as folder:
        return json.loads(Path(folder, "state.json").read_text())["step"]


def case_of_a_function(place: Path) -> Any:
    result = fit(saving, place)[0]
    return [kept(result), content(result.checkpoint), [(content(c), m["step"]) for c, m in result.best_checkpoints]]


def case_how_many(place: Path) -> Any:
    scores = {1: 5, 2: 9, 3: 1, 4: 4}
    made = {
        "one": {"num_to_keep": 1},
        "two": {"num_to_keep": 2},
        "best": {"num_to_keep": 1, "checkpoint_score_attribute": "score"},
        "two best": {"num_to_keep": 2, "checkpoint_score_attribute": "score"},
        "least": {"num_to_keep": 2, "checkpoint_score_attribute": "score", "checkpoint_score_order": "min"},
        "unknown": {"num_to_keep": 2, "checkpoint_score_attribute": "nobody"},
        "all": {},
    }
    found = {}
    for name, options in made.items():
        result = fit(saving, place, {"scores": scores}, name=name, checkpoint_config=CheckpointConfig(**options))[0]
        found[name] = [kept(result), sorted(content(c) for c, _ in result.best_checkpoints), content(result.checkpoint)]
    return found


def case_wrong_options(place: Path) -> Any:
    return [
        raised(CheckpointConfig, num_to_keep=0),
        raised(CheckpointConfig, num_to_keep=-1),
        raised(CheckpointConfig, checkpoint_score_order="middle"),
        raised(CheckpointConfig, checkpoint_frequency=-1),
        raised(fit, saving, place, checkpoint_config=CheckpointConfig(checkpoint_frequency=2)),
        raised(fit, saving, place, checkpoint_config=CheckpointConfig(checkpoint_at_end=True)),
        raised(FailureConfig, max_failures=2, fail_fast=True),
        raised(FailureConfig, fail_fast="perhaps"),
    ]


def case_of_a_class(place: Path) -> Any:
    made = {
        "none": {},
        "every second": {"checkpoint_frequency": 2},
        "at the end": {"checkpoint_at_end": True},
        "both": {"checkpoint_frequency": 2, "checkpoint_at_end": True},
        "last": {"checkpoint_frequency": 1, "num_to_keep": 1},
    }
    found = {}
    for name, options in made.items():
        config = CheckpointConfig(**options)
        result = fit(Counter, place, name=name, stop={"training_iteration": 3}, checkpoint_config=config)[0]
        found[name] = [
            len(kept(result)),
            Path(result.checkpoint.path, "count").read_text() if result.checkpoint else None,
        ]
    return found


def case_of_a_class_in_run(place: Path) -> Any:
    found = run(Counter, place, stop={"training_iteration": 3})
    asked = run(
        Counter,
        place,
        name="b",
        stop={"training_iteration": 3},
        checkpoint_config=CheckpointConfig(checkpoint_at_end=True),
    )
    return [len(kept(found.trials[0])), len(kept(asked.trials[0]))]


def case_a_class_asks_for_one(place: Path) -> Any:
    class Asks(Counter):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "should_checkpoint": self.count == 2}

    return len(kept(fit(Asks, place, stop={"training_iteration": 4})[0]))


def case_reported_twice(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        Path("c").mkdir()
        for n in range(2):
            Path("c", f"file{n}").touch()
            tune.report({"n": n}, checkpoint=Checkpoint.from_directory("c"))
        tune.report({"n": 2})

    result = fit(train, place)[0]
    newest = sorted(path.name for path in Path(result.checkpoint.path).iterdir() if path.name.startswith("file"))
    return [kept(result), newest, result.metrics["n"]]


def case_best(place: Path) -> Any:
    scores = {1: 5, 2: 9, 3: 1, 4: 4}
    result = fit(saving, place, {"scores": scores}, {"metric": "score", "mode": "max"})[0]
    analysis = run(saving, place, name="b", config={"scores": scores}, metric="score", mode="min")
    trial = analysis.trials[0]
    return [
        content(result.get_best_checkpoint("score", "max")),
        content(result.get_best_checkpoint("score", "min")),
        content(result.checkpoint),
        content(analysis.get_best_checkpoint(trial)),
        content(analysis.get_best_checkpoint(trial, "score", "max")),
        content(analysis.get_last_checkpoint(trial)),
        content(analysis.best_checkpoint),
        raised(result.get_best_checkpoint, "nobody", "max"),
    ]


def case_value(place: Path) -> Any:
    (place / "a").mkdir()
    (place / "a" / "file").write_text("text")
    one = Checkpoint.from_directory(str(place / "a"))
    one.set_metadata({"x": 1})
    one.update_metadata({"y": 2})
    copy = Path(one.to_directory(str(place / "b")))
    with one.as_directory() as folder:
        same = Path(folder) == place / "a"
    return [
        (copy / "file").read_text(),
        same,
        one.get_metadata(),
        one.path == str(place / "a"),
        Path(one.to_directory(), "file").exists(),
    ]


def case_no_checkpoint_at_first(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"none": tune.get_checkpoint() is None})

    return fit(train, place)[0].metrics["none"]


def case_goes_on(place: Path) -> Any:
    space = {"fails_at": 3, "marker": str(place / "marker")}
    result = fit(saving, place, space, failure_config=FailureConfig(max_failures=1))[0]
    frame = result.metrics_dataframe
    return [result.error is None, result.metrics["first"], list(frame["step"]), list(frame["training_iteration"])]


def case_starts_again(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for n in range(1, 4):
            if n == 3 and not Path(config["marker"]).exists():
                Path(config["marker"]).touch()
                raise ValueError("by design")
            tune.report({"n": n})

    analysis = run(train, place, config={"marker": str(place / "marker")}, max_failures=1)
    trial = analysis.trials[0]
    return [trial.status, trial.num_failures, next(iter(analysis.trial_dataframes.values()))["n"].tolist()]


def case_a_class_goes_on(place: Path) -> Any:
    class Fails(Counter):
        def step(self) -> dict[str, Any]:
            if self.count == 3 and not Path(self.config["marker"]).exists():
                Path(self.config["marker"]).touch()
                raise ValueError("by design")
            return super().step()

    result = fit(
        Fails,
        place,
        {"marker": str(place / "marker")},
        stop={"training_iteration": 5},
        checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
        failure_config=FailureConfig(max_failures=1),
    )[0]
    frame = result.metrics_dataframe
    return [
        result.error is None,
        list(frame["count"]),
        list(frame["training_iteration"]),
        result.metrics["iterations_since_restore"],
    ]


def case_too_many_failures(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        raise ValueError("by design")

    found = run(fails, place, max_failures=2, raise_on_failed_trial=False)
    return [statuses(found), found.trials[0].num_failures]


def case_failures_are_raised(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        raise ValueError("by design")

    return [
        raised(run, fails, place),
        raised(run, fails, place, name="b", fail_fast="raise"),
        raised(fit, fails, place, name="c"),
        raised(fit, fails, place, name="d", failure_config=FailureConfig(fail_fast="raise")),
    ]


def case_fail_fast(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        if config["x"] == 1:
            raise ValueError("by design")
        tune.report({"loss": 1})

    found = run(fails, place, config={"x": tune.grid_search([0, 1, 2, 3])}, fail_fast=True, raise_on_failed_trial=False)
    return statuses(found)[:2]


def case_errors_of_results(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})
        if config["x"] == 1:
            raise ValueError("by design")

    grid = fit(fails, place, {"x": tune.grid_search([0, 1])}, {"metric": "loss", "mode": "max"})
    return [
        grid.num_errors,
        grid.num_terminated,
        "by design" in str(grid.errors[0]),
        grid[0].error,
        grid.get_best_result().config,
    ]


def case_restore(place: Path) -> Any:
    first = fit(
        Counter, place, stop={"training_iteration": 3}, checkpoint_config=CheckpointConfig(checkpoint_at_end=True)
    )
    path = first[0].checkpoint.path
    again = run(Counter, place, name="b", restore=path, stop={"training_iteration": 5})
    last = again.trials[0].last_result
    return [last["count"], last["training_iteration"], last["iterations_since_restore"]]


def case_bad_checkpoints(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"n": 1}, checkpoint="a/path")

    return [raised(run, train, place), raised(run, steps, place, name="b", restore="/nowhere/at/all")]


def case_old_names_of_options(place: Path) -> Any:
    found = run(
        Counter,
        place,
        stop={"training_iteration": 4},
        checkpoint_config=CheckpointConfig(checkpoint_frequency=1, num_to_keep=2, checkpoint_score_attribute="count"),
    )
    return [len(kept(found.trials[0])), iterations(found)]
