"""The fields of a result, the files of a trial, and what is counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from lab import Counter, iterations, run, steps
from ray import tune

OWN = {
    "checkpoint_dir_name",
    "job_id",
    "attempt",
    "node_list",
    "experiment_id",
    "episodes_total",
    "timesteps_total",
    "timesteps_since_restore",
}
"""Fields that not every version has."""


def case_fields(place: Path) -> Any:
    last = run(steps, place, config={"x": 2}).trials[0].last_result
    return {key: type(value).__name__ for key, value in sorted(last.items()) if key not in OWN}


def case_values_of_fields(place: Path) -> Any:
    trial = run(steps, place, config={"x": 2}).trials[0]
    last = trial.last_result
    return [
        last["config"],
        last["done"],
        last["trial_id"] == trial.trial_id,
        last["training_iteration"],
        last["iterations_since_restore"],
        last["experiment_tag"],
        last["time_total_s"] == last["time_since_restore"],
        last["time_this_iter_s"] <= last["time_total_s"],
    ]


def case_counted_timesteps(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for _ in range(3):
            tune.report({"timesteps_this_iter": 10, "episodes_this_iter": 2})

    last = run(train, place).trials[0].last_result
    return [last.get("timesteps_total"), last.get("episodes_total"), last.get("timesteps_since_restore")]


def case_stated_totals(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for n in range(3):
            tune.report({"timesteps_total": 100 * n, "training_iteration": 7})

    last = run(train, place).trials[0].last_result
    return [last["timesteps_total"], last["training_iteration"]]


def case_counted_timesteps_of_a_class(place: Path) -> Any:
    class Mine(Counter):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "timesteps_this_iter": 5, "episodes_this_iter": 1}

    last = run(Mine, place, stop={"timesteps_total": 12}).trials[0].last_result
    return [last["timesteps_total"], last["episodes_total"], last["training_iteration"]]


def case_files(place: Path) -> Any:
    trial = run(steps, place, config={"x": 2, "n": {"m": 1}}).trials[0]
    folder = Path(trial.path)
    rows = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
    with (folder / "progress.csv").open() as file:
        table = list(csv.DictReader(file))
    names = sorted(path.name for path in folder.iterdir())
    return {
        "files": [n for n in names if n in ("result.json", "progress.csv", "params.json", "params.pkl")],
        "events": any("tfevents" in name for name in names),
        "params": json.loads((folder / "params.json").read_text()),
        "rows": [row["loss"] for row in rows],
        "row": {key: type(value).__name__ for key, value in sorted(rows[0].items()) if key not in OWN},
        "columns": sorted(column for column in table[0] if column not in OWN | {"experiment_tag"}),
        "table": [float(row["loss"]) for row in table],
    }


def case_nested_results(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"a": {"b": 1, "c": {"d": 2}}, "l": [1, 2], "w": "word", "f": True, "e": {}})

    found = run(train, place)
    last, frame = found.trials[0].last_result, found.results_df
    columns = [each for each in frame.columns if (each[0] in "alwfe" and "/" in each) or each in ("l", "w", "f", "e")]
    with (Path(found.trials[0].path) / "progress.csv").open() as file:
        row = next(csv.DictReader(file))
    return [last["a"], last["l"], sorted(columns), row["a/c/d"], row["l"], row["w"], row["f"]]


def case_numbers_of_numpy(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report(
            {"f": np.float32(0.5), "i": np.int64(3), "a": np.array([1, 2]), "n": float("nan"), "inf": float("inf")}
        )

    trial = run(train, place).trials[0]
    row = json.loads(Path(trial.path, "result.json").read_text())
    last = trial.last_result
    return [row["f"], row["i"], row["a"], row["n"], row["inf"], float(last["f"]), int(last["i"]), list(last["a"])]


def case_columns_that_come_later(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"a": 1})
        tune.report({"a": 2, "b": 3})

    trial = run(train, place).trials[0]
    with Path(trial.path, "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [[row["a"] for row in rows], "b" in rows[0], trial.last_result["b"]]


def case_metric_analysis(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for value in (5, 1, 4, 2):
            tune.report({"v": value, "n": {"w": value}})

    trial = run(train, place).trials[0]
    kept = trial.metric_analysis
    return {key: {name: kept[key].get(name) for name in ("max", "min", "avg", "last")} for key in ("v", "n/w")}


def case_an_error_leaves_files(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": 1})
        raise ValueError("by design")

    trial = run(train, place, raise_on_failed_trial=False).trials[0]
    return [
        "ValueError" in Path(trial.path, "error.txt").read_text(),
        Path(trial.path, "error.pkl").exists(),
        trial.status,
        trial.num_failures,
        trial.last_result["loss"],
        trial.error_file is not None,
    ]


def case_iterations_of_a_class(place: Path) -> Any:
    class Ends(Counter):
        def step(self) -> dict[str, Any]:
            return {**super().step(), "done": self.count >= 3}

    return iterations(run(Ends, place))


def case_trial_attributes(place: Path) -> Any:
    trial = run(steps, place, config={"x": 2, "y": tune.grid_search([1])}).trials[0]
    return [
        trial.config,
        trial.evaluated_params,
        trial.trainable_name,
        str(trial) == f"steps_{trial.trial_id}",
        trial.is_finished(),
        trial.experiment_dir_name,
        Path(trial.local_path).name == Path(trial.path).name,
    ]
