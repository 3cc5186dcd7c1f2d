"""Searchers: what they are asked and told, limits, repetitions, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab import Counter, fit, iterations, raised, run, statuses, steps
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher, create_searcher


class Asked(Searcher):
    """Suggests x = 1, 2, ... and keeps all that it hears."""

    def __init__(self, last: int = 99, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []
        self.ids: list[str] = []
        self.last = last

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        self.heard.append(["properties", metric, mode, sorted(config)])
        return super().set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> Any:
        if len(self.ids) >= self.last:
            return Searcher.FINISHED
        self.ids.append(trial_id)
        self.heard.append(["suggest", len(self.ids)])
        return {"x": len(self.ids)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.heard.append(["result", self.ids.index(trial_id) + 1, result["training_iteration"], result["loss"]])

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        self.heard.append(["complete", self.ids.index(trial_id) + 1, (result or {}).get("loss"), error])


def case_what_it_hears(place: Path) -> Any:
    searcher = Asked(metric="loss", mode="min")
    found = run(steps, place, search_alg=searcher, num_samples=2, config={"steps": 2})
    heard = [each for each in searcher.heard if each[0] != "properties"]
    return [heard, [trial.config for trial in found.trials]]


def case_metric_of_the_experiment(place: Path) -> Any:
    class Settable(Asked):
        def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
            self.heard.append([metric, mode, sorted(config)])
            return True

    searcher = Settable()
    fit(steps, place, {"y": 2}, {"metric": "loss", "mode": "max", "search_alg": searcher, "num_samples": 1})
    return searcher.heard[0]


def case_it_finishes(place: Path) -> Any:
    found = run(steps, place, search_alg=Asked(2, metric="loss", mode="min"), num_samples=5)
    return [trial.config["x"] for trial in found.trials]


def case_a_failed_trial(place: Path) -> Any:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})
        if config["x"] == 1:
            raise ValueError("by design")

    searcher = Asked(metric="loss", mode="min")
    found = run(train, place, search_alg=searcher, num_samples=2, raise_on_failed_trial=False)
    return [statuses(found), [each for each in searcher.heard if each[0] == "complete"]]


def case_limiter(place: Path) -> Any:
    inner = Asked(metric="loss", mode="min")
    limited = ConcurrencyLimiter(inner, max_concurrent=2)
    asked = [limited.suggest(name) for name in "abc"]
    limited.on_trial_complete("a", {"loss": 1, "training_iteration": 1})
    return [asked, limited.suggest("d"), limited.suggest("e"), [each for each in inner.heard if each[0] == "complete"]]


def case_limiter_in_batches(place: Path) -> Any:
    inner = Asked(metric="loss", mode="min")
    limited = ConcurrencyLimiter(inner, max_concurrent=2, batch=True)
    asked = [limited.suggest(name) for name in "abc"]
    limited.on_trial_complete("a", {"loss": 1, "training_iteration": 1})
    before = [limited.suggest("d"), [each for each in inner.heard if each[0] == "complete"]]
    limited.on_trial_complete("b", {"loss": 2, "training_iteration": 1})
    return [asked, before, limited.suggest("e"), [each for each in inner.heard if each[0] == "complete"]]


def case_two_limits(place: Path) -> Any:
    limited = ConcurrencyLimiter(Asked(metric="loss", mode="min"), max_concurrent=2)
    return raised(run, steps, place, search_alg=limited, max_concurrent_trials=3, num_samples=2)


def case_limiter_of_the_wrong(place: Path) -> Any:
    return [raised(ConcurrencyLimiter, tune.search.BasicVariantGenerator(), 2), raised(ConcurrencyLimiter, Asked(), 0)]


def case_repeater(place: Path) -> Any:
    inner = Asked(metric="loss", mode="min")
    repeated = Repeater(inner, repeat=3, set_index=True)
    asked = [repeated.suggest(name) for name in "abcd"]
    for name, loss in (("a", 1), ("b", 2), ("c", 6)):
        repeated.on_trial_complete(name, {"loss": loss})
    told = [each[2:] for each in inner.heard if each[0] == "complete"]
    return [[{k: v for k, v in each.items() if k == "x"} for each in asked], told]


def case_repeater_in_a_run(place: Path) -> Any:
    inner = Asked(metric="loss", mode="min")
    found = run(steps, place, search_alg=Repeater(inner, repeat=2), num_samples=4, config={"steps": 1})
    told = [each[2:] for each in inner.heard if each[0] == "complete"]
    return [[trial.config["x"] for trial in found.trials], told]


def case_names(place: Path) -> Any:
    return [
        type(create_searcher("random")).__name__,
        type(create_searcher("variant_generator")).__name__,
        raised(create_searcher, "nobody"),
        len(run(steps, place, search_alg="random", config={"x": tune.uniform(0, 1)}, num_samples=2).trials),
    ]


def case_save_and_restore(place: Path) -> Any:
    class Saves(Asked):
        def save(self, checkpoint_path: str) -> None:
            Path(checkpoint_path).write_text(str(len(self.ids)))

        def restore(self, checkpoint_path: str) -> None:
            self.ids = ["old"] * int(Path(checkpoint_path).read_text())

    first, second = Saves(metric="loss", mode="min"), Saves(metric="loss", mode="min")
    run(steps, place, search_alg=first, num_samples=2)
    first.save(str(place / "state"))
    second.restore(str(place / "state"))
    return second.suggest("new")


def case_incomplete_searchers(place: Path) -> Any:
    class Lacks(Searcher): ...

    return [raised(Lacks(metric="loss", mode="min").suggest, "a"), raised(Searcher, metric="loss", mode="middle")]


def case_base_of_searchers(place: Path) -> Any:
    one = Asked(metric="a", mode="min")
    two = Asked(metric=["a", "b"], mode=["min", "max"])
    return [
        one.metric,
        one.mode,
        two.metric,
        two.mode,
        Asked().metric,
        raised(Searcher, metric=["a", "b"], mode=["min"]),
    ]


def case_grid_with_a_searcher(place: Path) -> Any:
    space = {"x": tune.grid_search([1, 2])}
    return raised(run, steps, place, search_alg=Asked(metric="loss", mode="min"), config=space)


def case_with_a_scheduler(place: Path) -> Any:
    searcher = Asked(metric="loss", mode="min")
    asha = tune.schedulers.ASHAScheduler(metric="loss", mode="min", max_t=4, reduction_factor=2)
    found = run(steps, place, search_alg=searcher, scheduler=asha, num_samples=3)
    return [iterations(found), [each for each in searcher.heard if each[0] == "complete"]]


def case_pending_points(place: Path) -> Any:
    searcher = Asked(metric="loss", mode="min")
    found = run(Counter, place, search_alg=searcher, num_samples=2, stop={"training_iteration": 2}, config={"z": 5})
    return [trial.config for trial in found.trials]
