"""What scripts for Ray Tune 1.x do. The newest Ray has no longer all of it: recorded with Ray 1.13."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab import raised
from ray import tune


def run(trainable: Any, place: Path, **options: Any) -> Any:
    return tune.run(trainable, **{"local_dir": str(place), "name": "exp", "verbose": 0, **options})


def case_report_of_keywords(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(mean_loss=config["x"] / (step + 1), step=step)

    found = run(train, place, config={"x": tune.grid_search([3, 6])}, metric="mean_loss", mode="min")
    return [found.best_config, found.best_result["mean_loss"], len(found.trials)]


def case_reporter(place: Path) -> Any:
    def train(config: dict[str, Any], reporter: Any) -> None:
        for step in range(3):
            reporter(mean_accuracy=step * config["x"], timesteps_total=10 * step)

    last = run(train, place, config={"x": 2}).trials[0].last_result
    return [last["mean_accuracy"], last["timesteps_total"], last["training_iteration"]]


def case_bare_number(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report(3)

    return run(train, place).trials[0].last_result["_metric"]


def case_checkpoint_dir(place: Path) -> Any:
    def train(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
        start = 0
        if checkpoint_dir:
            start = json.loads(Path(checkpoint_dir, "state").read_text()) + 1
        for step in range(start, 4):
            if step == 2 and not Path(config["marker"]).exists():
                Path(config["marker"]).touch()
                raise ValueError("by design")
            with tune.checkpoint_dir(step=step) as folder:
                Path(folder, "state").write_text(json.dumps(step))
            tune.report(step=step, start=start)

    last = run(train, place, config={"marker": str(place / "marker")}, max_failures=1).trials[0].last_result
    return [last["step"], last["start"], last["training_iteration"]]


def case_nothing_to_resume(place: Path) -> Any:
    return [raised(run, Counting, place, resume=True), raised(run, Counting, place, name="b", resume="ERRORED_ONLY")]


class Counting(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n, "loss": self.config.get("x", 1) / self.n}

    def save_checkpoint(self, checkpoint_dir: str) -> str:
        path = f"{checkpoint_dir}/state"
        Path(path).write_text(json.dumps(self.n))
        return path

    def load_checkpoint(self, checkpoint: str) -> None:
        self.n = json.loads(Path(checkpoint).read_text())


def case_kept_checkpoints(place: Path) -> Any:
    options = {"stop": {"training_iteration": 5}, "checkpoint_freq": 1, "keep_checkpoints_num": 2}
    analysis = run(Counting, place, checkpoint_score_attr="training_iteration", **options)
    folders = Path(analysis.trials[0].logdir).glob("checkpoint_*/state")
    return sorted(json.loads(path.read_text()) for path in folders)


def case_best_checkpoint(place: Path) -> Any:
    space = {"x": tune.grid_search([1, 2])}
    found = run(Counting, place, config=space, stop={"n": 3}, checkpoint_freq=1, metric="loss", mode="max")
    best = found.get_best_checkpoint(found.best_trial, metric="loss", mode="max")
    path = best if isinstance(best, str) else getattr(best, "local_path", None) or best.path
    state = Path(path) if Path(path).is_file() else next(Path(path).rglob("state"))
    return [found.best_config, json.loads(state.read_text())]


def case_stop_by_a_function(place: Path) -> Any:
    found = run(Counting, place, stop=lambda trial_id, result: result["n"] >= 3)
    return [found.trials[0].last_result["n"], found.trials[0].status]


def case_run_experiments(place: Path) -> Any:
    tune.register_trainable("counting", Counting)
    experiment = tune.Experiment(
        "mine", "counting", stop={"n": 2}, config={"x": tune.grid_search([1, 2])}, local_dir=str(place), num_samples=2
    )
    trials = tune.run_experiments(experiment, verbose=0)
    return [[trial.last_result["n"], trial.status, trial.config["x"]] for trial in trials]


def case_samples(place: Path) -> Any:
    space = {
        "a": tune.sample_from(lambda spec: spec.config.b + 1),
        "b": tune.choice([3]),
        "c": {"d": tune.grid_search([1, 2])},
        "e": tune.randint(4, 5),
    }
    found = run(Counting, place, config=space, stop={"n": 1}, num_samples=2)
    return sorted([t.config["a"], t.config["c"]["d"], t.config["e"]] for t in found.trials)


def case_failures(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report(loss=1)
        if config["x"] == 1:
            raise ValueError("by design")
        tune.report(loss=2)

    found = run(train, place, config={"x": tune.grid_search([0, 1])}, raise_on_failed_trial=False)
    return [[t.status, t.last_result["loss"], t.last_result["training_iteration"]] for t in found.trials]


def case_median_rule(place: Path) -> Any:
    from ray.tune.schedulers import MedianStoppingRule

    def train(config: dict[str, Any]) -> None:
        for step in range(6):
            tune.report(score=config["x"] * (step + 1))

    rule = MedianStoppingRule(metric="score", mode="max", grace_period=2, min_samples_required=2)
    found = run(train, place, config={"x": tune.grid_search([3, 2, 1])}, scheduler=rule, max_concurrent_trials=1)
    return [t.last_result["training_iteration"] for t in found.trials]


def case_asha(place: Path) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    def train(config: dict[str, Any]) -> None:
        for step in range(8):
            tune.report(score=config["x"] * (step + 1))

    asha = ASHAScheduler(max_t=8, grace_period=1, reduction_factor=2)
    found = run(
        train, place, config={"x": tune.grid_search([4, 3, 2, 1])}, scheduler=asha, metric="score", mode="max",
        max_concurrent_trials=1,
    )  # fmt: skip
    return [found.best_config, [t.last_result["training_iteration"] for t in found.trials]]


def case_with_parameters(place: Path) -> Any:
    def train(config: dict[str, Any], data: Any = None) -> None:
        tune.report(total=sum(data) * config["x"])

    found = run(tune.with_parameters(train, data=[1, 2, 3]), place, config={"x": 2})
    return found.trials[0].last_result["total"]


def case_loggers_as_classes(place: Path) -> Any:
    from ray.tune.logger import CSVLogger, LegacyLoggerCallback, Logger

    class Noting(Logger):  # type: ignore[misc]
        def _init(self) -> None:
            self.seen: list[Any] = [sorted(self.config), Path(self.logdir).is_dir(), self.trial.trainable_name]

        def on_result(self, result: dict[str, Any]) -> None:
            self.seen.append(result["x"])

        def close(self) -> None:
            Path(self.logdir, "seen.json").write_text(json.dumps(self.seen))

    class Doubled(CSVLogger):  # type: ignore[misc]
        def on_result(self, result: dict[str, Any]) -> None:
            super().on_result({**result, "x": 2 * result["x"]})

    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(x=step)

    run(train, place, config={"a": 1}, callbacks=[LegacyLoggerCallback([Noting])])
    run(train, place, name="other", callbacks=[LegacyLoggerCallback([Doubled])])
    rows = next(place.glob("other/*/progress.csv")).read_text().splitlines()
    at = rows[0].split(",").index("x")
    return [json.loads(next(place.glob("exp/*/seen.json")).read_text()), [float(r.split(",")[at]) for r in rows[1:]]]
