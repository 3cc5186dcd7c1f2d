"""ExperimentAnalysis, ResultGrid and Result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import fit, raised, run, saving
from ray import tune
from ray.tune import ExperimentAnalysis


def waves(config: dict[str, Any]) -> None:
    for value in config["values"]:
        tune.report({"v": value, "n": {"w": -value}})


SPACE = {"values": tune.grid_search([[5, 1, 9], [4, 4, 4], [8, 2, 2]])}


def which(trial: Any) -> Any:
    return trial.config["values"] if trial else None


def case_scopes(place: Path) -> Any:
    found = run(waves, place, config=SPACE)
    return {
        mode: {
            scope: which(found.get_best_trial("v", mode, scope))
            for scope in ("last", "avg", "last-5-avg", "last-10-avg", "all")
        }
        for mode in ("min", "max")
    }


def case_best(place: Path) -> Any:
    found = run(waves, place, config=SPACE, metric="v", mode="min")
    return [
        which(found.best_trial),
        found.best_config == found.best_trial.config,
        found.best_result["v"],
        found.get_best_config("v", "max"),
        found.best_result_df["v"].tolist(),
        [result["v"] for result in found.results.values()],
        list(found.results) == [trial.trial_id for trial in found.trials],
        found.default_metric,
        found.default_mode,
    ]


def case_without_a_metric(place: Path) -> Any:
    found = run(waves, place, config=SPACE)
    return [
        raised(lambda: found.best_config),
        raised(found.get_best_trial),
        raised(found.get_best_trial, "v"),
        raised(found.get_best_trial, "v", "middle"),
        raised(found.get_best_trial, "v", "min", "nowhere"),
        raised(found.get_best_trial, "nobody", "min"),
        which(found.get_best_trial("n/w", "max")),
        raised(found.get_best_config, "nobody", "min"),
    ]


def case_tables(place: Path) -> Any:
    found = run(waves, place, config=SPACE)
    best = found.dataframe("v", "min")
    last = found.dataframe()
    every = found.trial_dataframes
    return [
        sorted(best["v"].tolist()),
        sorted(last["v"].tolist()),
        sorted(len(frame) for frame in every.values()),
        sorted(column for column in last.columns if column.startswith("config/")),
        "logdir" in last.columns,
        sorted(map(str, found.get_all_configs().values())) == sorted(str(trial.config) for trial in found.trials),
        found.results_df.index.name,
        found.results_df["v"].tolist(),
        [column for column in found.results_df.columns if column.startswith(("config", "n/"))],
    ]


def case_of_a_path(place: Path) -> Any:
    run(waves, place, config=SPACE)
    read = ExperimentAnalysis(str(place / "exp"), default_metric="v", default_mode="max")
    return [read.best_config, len(read.trials), read.best_result["v"], sorted(read.dataframe()["v"].tolist())]


def case_of_no_path(place: Path) -> Any:
    return raised(ExperimentAnalysis, str(place / "nowhere"))


def case_nan(place: Path) -> Any:
    space = {"values": tune.grid_search([[float("nan")], [4], [8]])}
    found = run(waves, place, config=space)
    grid = fit(waves, place, space, {"metric": "v", "mode": "max"}, name="b")
    return [
        which(found.get_best_trial("v", "min")),
        which(found.get_best_trial("v", "max")),
        which(found.get_best_trial("v", "max", filter_nan_and_inf=True)),
        grid.get_best_result().config,
        grid.get_best_result(filter_nan_and_inf=True).config,
    ]


def case_grid(place: Path) -> Any:
    grid = fit(waves, place, SPACE, {"metric": "v", "mode": "max"})
    return [
        [result.metrics["v"] for result in grid],
        grid.get_best_result().metrics["v"],
        grid.get_best_result("v", "min").metrics["v"],
        grid.get_best_result("v", "min", "all").metrics["v"],
        grid.get_best_result(scope="avg").config,
        len(grid.get_dataframe()),
        sorted(grid.get_dataframe("v", "min")["v"].tolist()),
        grid.errors,
        grid.num_errors,
        grid.num_terminated,
        Path(grid.experiment_path).name,
        raised(lambda: grid[3]),
        raised(grid.get_best_result, "nobody", "min"),
        raised(grid.get_best_result, "v", "middle"),
    ]


def case_grid_without_a_metric(place: Path) -> Any:
    one = fit(waves, place, {"values": [1]})
    three = fit(waves, place, SPACE, name="b")
    return [one.get_best_result().metrics["v"], raised(three.get_best_result), raised(three.get_best_result, "v")]


def case_result(place: Path) -> Any:
    result = fit(saving, place, {"steps": 3})[0]
    return [
        result.metrics["step"],
        result.config,
        result.error,
        list(result.metrics_dataframe["step"]),
        Path(result.path).parent.name,
        result.checkpoint is not None,
        len(result.best_checkpoints),
        type(result.best_checkpoints[0]).__name__,
        [metrics["step"] for _, metrics in result.best_checkpoints],
    ]


def case_result_from_a_path(place: Path) -> Any:
    first = fit(saving, place, {"steps": 3})[0]
    read = tune.Result.from_path(first.path)
    return [read.metrics["step"], read.config, len(read.best_checkpoints), len(read.metrics_dataframe), read.error]


def case_a_failed_result(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        tune.report({"v": 1})
        raise ValueError("by design")

    result = fit(fails, place)[0]
    return [result.metrics["v"], "by design" in str(result.error), raised(_raise, result.error)]


def _raise(error: Exception) -> None:
    raise error


def case_nothing_reported(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        raise ValueError("by design")

    result = fit(fails, place)[0]
    frame = result.metrics_dataframe
    return [result.metrics.get("v"), result.metrics["config"], frame is None or len(frame), result.checkpoint]


def case_statistics_of_a_grid(place: Path) -> Any:
    frame = fit(waves, place, SPACE).get_dataframe()
    wanted = ("v", "n/w", "trial_id", "config/values", "training_iteration", "done", "logdir")
    return [column for column in wanted if column in frame.columns]
