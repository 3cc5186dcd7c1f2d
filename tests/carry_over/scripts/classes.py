"""Trainable classes: which methods are called when, in a search and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import Counter, fit, iterations, raised, run
from ray import tune
from ray.tune import CheckpointConfig, Trainable


class Speaks(Counter):
    """Writes the names of its methods to a file."""

    def say(self, word: str) -> None:
        with Path(self.config["said"]).open("a") as file:
            file.write(f"{word}\n")

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self.say("setup")

    def step(self) -> dict[str, Any]:
        self.say("step")
        return super().step()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.say("save")
        super().save_checkpoint(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.say("load")
        super().load_checkpoint(checkpoint)

    def cleanup(self) -> None:
        self.say("cleanup")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.say("reset")
        return True

    def log_result(self, result: dict[str, Any]) -> None:
        self.say("log")
        super().log_result(result)


def said(place: Path) -> list[str]:
    return (place / "said").read_text().split()


def case_order(place: Path) -> Any:
    config = CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True)
    run(Speaks, place, config={"said": str(place / "said")}, stop={"training_iteration": 3}, checkpoint_config=config)
    return said(place)


def case_by_hand(place: Path) -> Any:
    one = Counter({"x": 6})
    first = one.train()
    one.train()
    kept = one.save(str(place / "c"))
    two = Counter({"x": 6})
    two.restore(str(place / "c"))
    result = two.train()
    return [
        first["loss"],
        first["training_iteration"],
        result["count"],
        result["training_iteration"],
        two.iteration,
        two.training_iteration,
        two.get_config(),
        kept is not None,
        two.trial_id == two.trial_id,
    ]


def case_a_dict_as_checkpoint(place: Path) -> Any:
    class Mine(Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.n = 0

        def step(self) -> dict[str, Any]:
            self.n += 1
            if self.n == 3 and not Path(self.config["marker"]).exists():
                Path(self.config["marker"]).touch()
                raise ValueError("by design")
            return {"n": self.n}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {"n": self.n}

        def load_checkpoint(self, checkpoint: Any) -> None:
            assert isinstance(checkpoint, dict)
            self.n = checkpoint["n"]

    found = run(
        Mine,
        place,
        config={"marker": str(place / "marker")},
        stop={"training_iteration": 4},
        checkpoint_config=CheckpointConfig(checkpoint_frequency=1),
        max_failures=1,
    )
    return [found.trials[0].last_result["n"], iterations(found)]


def case_incomplete(place: Path) -> Any:
    class Lacks(Trainable): ...

    class NoSave(Trainable):
        def step(self) -> dict[str, Any]:
            return {"n": 1}

    return [
        raised(Lacks().train),
        raised(NoSave().save, str(place / "c")),
        raised(
            fit,
            NoSave,
            place,
            stop={"training_iteration": 1},
            checkpoint_config=CheckpointConfig(checkpoint_frequency=1),
        ),
    ]


def case_step_returns_no_dict(place: Path) -> Any:
    class Wrong(Trainable):
        def step(self) -> Any:
            return 3

    return raised(run, Wrong, place, stop={"training_iteration": 1})


def case_default_resources(place: Path) -> Any:
    class Asks(Counter):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Any:
            return tune.PlacementGroupFactory([{"CPU": config["cpus"]}])

        def step(self) -> dict[str, Any]:
            return {**super().step(), "cpus": self.trial_resources.required_resources["CPU"]}

    return run(Asks, place, config={"cpus": 2}, stop={"training_iteration": 1}).trials[0].last_result["cpus"]


def case_resources_stated_twice(place: Path) -> Any:
    class Asks(Counter):
        @classmethod
        def default_resource_request(cls, config: dict[str, Any]) -> Any:
            return tune.PlacementGroupFactory([{"CPU": 1}])

    return raised(run, Asks, place, resources_per_trial={"cpu": 2}, stop={"training_iteration": 1})


def case_attributes(place: Path) -> Any:
    class Sees(Counter):
        def step(self) -> dict[str, Any]:
            return {
                **super().step(),
                "same": self.trial_id in self.trial_name,
                "folder": Path(self.logdir).parent.name,
                "before": self.iteration,
            }

    last = run(Sees, place, stop={"training_iteration": 2}).trials[0].last_result
    return [last["same"], last["before"], last["training_iteration"]]


def case_setup_fails(place: Path) -> Any:
    class Fails(Counter):
        def setup(self, config: dict[str, Any]) -> None:
            raise ValueError("by design")

    found = run(Fails, place, raise_on_failed_trial=False)
    return [
        [trial.status for trial in found.trials],
        "by design" in Path(found.trials[0].path, "error.txt").read_text(),
    ]


def case_function_as_a_class(place: Path) -> Any:
    from ray.tune.trainable import wrap_function

    def train(config: dict[str, Any]) -> None:
        for n in range(3):
            tune.report({"n": n})

    made = wrap_function(train)
    return iterations(run(made, place))


def case_exported_models(place: Path) -> Any:
    class Counting(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"n": self.iteration}

    class One(Counting):
        def export_model(self, export_formats: Any, export_dir: str | None = None) -> dict[str, str]:
            Path(self.config["place"], "One").write_text(str(export_formats))
            return {}

    class Two(Counting):
        def _export_model(self, export_formats: Any, export_dir: str) -> dict[str, str]:
            Path(self.config["place"], "Two").write_text(f"{export_formats} {Path(export_dir).is_dir()}")
            return {}

    for kind in (One, Two):
        given: dict[str, Any] = {"storage_path": str(place), "verbose": 0, "stop": {"training_iteration": 2}}
        config = {"place": str(place)}
        tune.run(kind, name=f"of {kind.__name__}", export_formats=["model"], config=config, **given)
    return [path.read_text() if (path := place / name).exists() else None for name in ("One", "Two")]


def case_placement_groups(place: Path) -> Any:
    one = tune.PlacementGroupFactory([{"CPU": 1, "GPU": 0.5}, {"CPU": 2}], strategy="SPREAD")
    same = tune.PlacementGroupFactory([{"CPU": 1, "GPU": 0.5}, {"CPU": 2}], strategy="SPREAD")
    return [
        one.required_resources,
        one.head_cpus,
        one.strategy,
        one == same,
        hash(one) == hash(same),
        one.bundles,
        one.head_bundle_is_empty,
        tune.PlacementGroupFactory([{}, {"CPU": 1}]).head_bundle_is_empty,
        raised(tune.PlacementGroupFactory, []),
        raised(tune.PlacementGroupFactory, [{}]),
    ]
