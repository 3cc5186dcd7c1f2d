"""Experiments that go on: Tuner.restore, tune.run(resume=...), and reading without running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import Counter, fit, raised, run, saving, statuses, steps, tuner
from ray import tune
from ray.tune import CheckpointConfig, ResultGrid, Tuner


def fails_until_marked(config: dict[str, Any]) -> None:
    if config["x"] == 1 and not Path(config["marker"]).exists():
        tune.report({"loss": -1})
        raise ValueError("by design")
    for n in range(2):
        tune.report({"loss": config["x"] + n})


def failed(place: Path, trainable: Any = fails_until_marked) -> str:
    fit(
        trainable,
        place,
        {"x": tune.grid_search([0, 1]), "marker": str(place / "marker")},
        {"metric": "loss", "mode": "min"},
    )
    (place / "marker").touch()
    return str(place / "exp")


def case_can_restore(place: Path) -> Any:
    before = Tuner.can_restore(str(place / "exp"))
    fit(steps, place)
    return [before, Tuner.can_restore(str(place / "exp")), raised(Tuner.restore, str(place / "nowhere"), steps)]


def case_results_without_running(place: Path) -> Any:
    fit(steps, place, {"x": tune.grid_search([1, 2])}, {"metric": "loss", "mode": "min"})
    grid = Tuner.restore(str(place / "exp"), trainable=steps).get_results()
    return [isinstance(grid, ResultGrid), len(grid), grid.get_best_result().config, [r.metrics["loss"] for r in grid]]


def case_a_finished_one(place: Path) -> Any:
    fit(steps, place, {"x": tune.grid_search([1, 2])})
    grid = Tuner.restore(str(place / "exp"), trainable=steps).fit()
    return [len(grid), [len(result.metrics_dataframe) for result in grid]]


def case_errored_stay(place: Path) -> Any:
    grid = Tuner.restore(failed(place), trainable=fails_until_marked).fit()
    return [grid.num_errors, sorted(result.metrics["loss"] for result in grid)]


def case_resume_errored(place: Path) -> Any:
    grid = Tuner.restore(failed(place), trainable=fails_until_marked, resume_errored=True).fit()
    return [grid.num_errors, sorted(result.metrics["loss"] for result in grid)]


def case_restart_errored(place: Path) -> Any:
    grid = Tuner.restore(failed(place), trainable=fails_until_marked, restart_errored=True).fit()
    return [grid.num_errors, sorted(result.metrics["loss"] for result in grid)]


def case_resume_errored_from_the_checkpoint(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        saving({**config, "fails_at": 3 if config["x"] else None})

    path = failed(place, train)
    grid = Tuner.restore(path, trainable=train, resume_errored=True).fit()
    wanted = ("first", "step", "training_iteration")
    return sorted([result.metrics[each] for each in wanted] for result in grid)


def case_restart_errored_from_nothing(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        if config["x"] == 1 and not Path(config["marker"]).exists():
            saving({**config, "steps": 2})
            raise ValueError("by design")
        saving(config)

    path = failed(place, train)
    grid = Tuner.restore(path, trainable=train, restart_errored=True).fit()
    return sorted([result.metrics["first"], result.metrics["step"]] for result in grid)


def case_run_auto(place: Path) -> Any:
    first = run(steps, place, resume="AUTO", config={"x": tune.grid_search([1, 2])})
    second = run(steps, place, resume="AUTO", config={"x": tune.grid_search([1, 2])})
    return [{t.trial_id for t in first.trials} == {t.trial_id for t in second.trials}, statuses(second)]


def case_run_resume(place: Path) -> Any:
    space = {"x": tune.grid_search([0, 1]), "marker": str(place / "marker")}
    found = {}
    for how in (True, "AUTO"):
        name = str(how)
        (place / "marker").unlink(missing_ok=True)
        run(fails_until_marked, place, name=name, config=space, raise_on_failed_trial=False)
        (place / "marker").touch()
        again = run(fails_until_marked, place, name=name, config=space, resume=how, raise_on_failed_trial=False)
        found[name] = [sorted(statuses(again)), sorted(trial.last_result["loss"] for trial in again.trials)]
    return found


def case_nothing_to_resume(place: Path) -> Any:
    return raised(run, steps, place, resume=True)


def case_can_restore_a_tuner_of_a_class(place: Path) -> Any:
    fit(Counter, place, stop={"training_iteration": 2}, checkpoint_config=CheckpointConfig(checkpoint_frequency=1))
    grid = Tuner.restore(str(place / "exp"), trainable=Counter).fit()
    return [grid[0].metrics["count"], len(grid[0].metrics_dataframe)]


def case_another_space(place: Path) -> Any:
    path = failed(place)
    space = {"x": tune.grid_search([0, 1]), "marker": str(place / "marker")}
    grid = Tuner.restore(path, trainable=fails_until_marked, restart_errored=True, param_space=space).fit()
    return [grid.num_errors, len(grid)]


def case_resume_config(place: Path) -> Any:
    from ray.tune import ResumeConfig

    space = {"x": tune.grid_search([0, 1]), "marker": str(place / "marker")}
    run(fails_until_marked, place, config=space, raise_on_failed_trial=False)
    (place / "marker").touch()
    again = run(
        fails_until_marked,
        place,
        config=space,
        resume=True,
        resume_config=ResumeConfig(finished=ResumeConfig.ResumeType.SKIP, errored=ResumeConfig.ResumeType.RESTART),
    )
    return sorted(statuses(again))


def case_a_searcher_goes_on(place: Path) -> Any:
    space = {"x": tune.uniform(0, 1), "marker": str(place / "marker"), "steps": 1}
    tuner(steps, place, space, {"num_samples": 3}).fit()
    return len(Tuner.restore(str(place / "exp"), trainable=steps).fit())
