"""What the documents of Ray Tune 0.x and 1.x promise and the newest Ray no longer has.

The expected values, in recorded/documented.json, are those of these documents; they are not recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab import raised
from ray import tune


def run(trainable: Any, place: Path, **options: Any) -> Any:
    return tune.run(trainable, **{"local_dir": str(place), "name": "exp", "verbose": 0, **options})


class Old(tune.Trainable):
    def _setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def _train(self) -> dict[str, Any]:
        self.n += 1
        if self.n == self.config.get("fails_at") and not Path(self.config["marker"]).exists():
            Path(self.config["marker"]).touch()
            raise ValueError("by design")
        return {"n": self.n}

    def _save(self, checkpoint_dir: str) -> str:
        path = f"{checkpoint_dir}/state"
        Path(path).write_text(json.dumps(self.n))
        return path

    def _restore(self, checkpoint: str) -> None:
        self.n = json.loads(Path(checkpoint).read_text())

    def _stop(self) -> None:
        Path(self.config["marker"] + ".stopped").touch()


def case_underscored_class(place: Path) -> Any:
    config = {"fails_at": 3, "marker": str(place / "marker")}
    found = run(Old, place, config=config, stop={"training_iteration": 4}, checkpoint_freq=1, max_failures=1)
    return [found.trials[0].last_result["n"], found.trials[0].status, (place / "marker.stopped").exists()]


def case_run_experiments(place: Path) -> Any:
    tune.register_trainable("old", Old)
    trials = tune.run_experiments(
        {
            "mine": {
                "run": "old",
                "stop": {"n": 2},
                "config": {"x": tune.grid_search([1, 2]), "marker": str(place / "marker")},
                "trial_resources": {"cpu": 1, "gpu": 0},
                "local_dir": str(place),
                "num_samples": 1,
                "checkpoint_at_end": True,
            }
        },
        verbose=0,
    )
    return [[trial.last_result["n"], trial.status, trial.checkpoint is not None] for trial in trials]


def case_kept_checkpoints(place: Path) -> Any:
    found = {}
    for attribute in ("training_iteration", "min-training_iteration"):
        analysis = run(
            Old,
            place,
            name=attribute,
            config={"marker": str(place / "marker")},
            stop={"training_iteration": 4},
            checkpoint_freq=1,
            keep_checkpoints_num=2,
            checkpoint_score_attr=attribute,
        )
        folders = Path(analysis.trials[0].logdir).glob("checkpoint_*/state")
        found[attribute] = sorted(json.loads(path.read_text()) for path in folders)
    return found


def case_restore_goes_on_counting(place: Path) -> Any:
    config = {"marker": str(place / "marker")}
    first = run(Old, place, config=config, stop={"training_iteration": 3}, checkpoint_at_end=True)
    again = run(
        Old, place, name="b", config=config, restore=first.trials[0].checkpoint.path, stop={"training_iteration": 5}
    )
    last = again.trials[0].last_result
    return [last["n"], last["training_iteration"], last["iterations_since_restore"]]


def case_resume_words(place: Path) -> Any:
    def fails(config: dict[str, Any]) -> None:
        if config["x"] == 1 and not Path(config["marker"]).exists():
            raise ValueError("by design")
        tune.report(loss=config["x"])

    space = {"x": tune.grid_search([0, 1]), "marker": str(place / "marker")}
    found = {}
    for how in ("LOCAL", "ERRORED_ONLY", "AUTO+ERRORED", "AUTO+ERRORED_ONLY", "AUTO+RESTART_ERRORED"):
        name = how.replace("+", "_")
        (place / "marker").unlink(missing_ok=True)
        run(fails, place, name=name, config=space, raise_on_failed_trial=False)
        (place / "marker").touch()
        again = run(fails, place, name=name, config=space, resume=how, raise_on_failed_trial=False)
        found[how] = [trial.status for trial in again.trials]
    return found


def case_analysis_of_a_folder(place: Path) -> Any:
    config = {"x": tune.grid_search([1, 2]), "marker": str(place / "marker")}
    first = run(Old, place, config=config, stop={"n": 2})
    read = tune.Analysis(str(place / "exp"))
    frame = read.dataframe(metric="n", mode="max")
    return [
        sorted(frame["n"].tolist()),
        read.get_best_config(metric="n", mode="max")["x"] in (1, 2),
        Path(read.get_best_logdir(metric="n", mode="max")).name in [Path(t.logdir).name for t in first.trials],
        sorted(config["x"] for config in read.get_all_configs().values()),
    ]


def case_pinned_objects(place: Path) -> Any:
    from ray.tune.utils import get_pinned_object, pin_in_object_store

    pinned = pin_in_object_store([0] * 9)

    def train(config: dict[str, Any]) -> None:
        tune.report(n=len(get_pinned_object(pinned)))

    return run(train, place).trials[0].last_result["n"]


def case_module_paths(place: Path) -> Any:
    from ray.tune.logger import DEFAULT_LOGGERS
    from ray.tune.schedulers.async_hyperband import AsyncHyperBandScheduler
    from ray.tune.suggest import ConcurrencyLimiter, Repeater, Searcher
    from ray.tune.suggest.basic_variant import BasicVariantGenerator
    from ray.tune.suggest.suggestion import SearchAlgorithm  # noqa: F401
    from ray.tune.trial import Trial
    from ray.tune.utils.placement_groups import PlacementGroupFactory

    kinds = (AsyncHyperBandScheduler, ConcurrencyLimiter, Repeater, Searcher, BasicVariantGenerator, Trial)
    return [[kind.__name__ for kind in (*kinds, PlacementGroupFactory)], len(DEFAULT_LOGGERS)]


def case_expressions_in_text(place: Path) -> Any:
    space = {"a": {"eval": "2 + 2"}, "b": tune.function(lambda x: x)}
    last = run(lambda config: tune.report(a=config["a"], b=config["b"](3)), place, config=space).trials[0].last_result
    return [last["a"], last["b"]]


def case_circles(place: Path) -> Any:
    space = {"a": tune.sample_from(lambda spec: spec.config.b), "b": tune.sample_from(lambda spec: spec.config.a)}
    return raised(run, lambda config: tune.report(a=1), place, config=space)


def case_wrong_arguments(place: Path) -> Any:
    return [
        raised(run, Old, place, max_concurrent_trials=-1),
        raised(run, Old, place, fail_fast=True, max_failures=2),
        raised(run, Old, place, mode="middle", metric="n"),
    ]


def case_loggers(place: Path) -> Any:
    from ray.tune.logger import DEFAULT_LOGGERS, Logger

    class Noting(Logger):  # type: ignore[misc]
        def on_result(self, result: dict[str, Any]) -> None:
            with Path(self.logdir, "seen").open("a") as file:
                file.write(f"{result['x']}\n")

    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(x=step)

    found = run(train, place, loggers=(*DEFAULT_LOGGERS, Noting))
    names = {path.name for path in Path(found.trials[0].logdir).iterdir()}
    return [next(place.glob("*/*/seen")).read_text().split(), sorted(names & {"progress.csv", "result.json"})]


def case_arguments_of_0(place: Path) -> Any:
    from ray.tune import track

    def train(config: dict[str, Any]) -> None:
        track.log(x=1, same=track.trial_id() == tune.get_trial_id())

    older = {"queue_trials": True, "ray_auto_init": True, "global_checkpoint_period": 5, "sync_on_checkpoint": False}
    trials = run(train, place, return_trials=True, **older)
    return [[t.last_result["x"], t.last_result["same"]] for t in trials]
