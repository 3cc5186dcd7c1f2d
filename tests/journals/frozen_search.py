"""The search whose experiment directories are frozen, see ``freeze_experiments.py``. Their pickles name this module and
what is in it: it may grow, and what is there stays.

``python frozen_search.py jobs|pool``: start that search, in the directory at hand.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpctune as tune

HOLD = "HPCTUNE_FROZEN_HOLD"
"""Names a file: while it exists, some trials wait where they are to be found at the freezing."""


def wait_held(number: int, held: dict[int, int], iteration: int) -> None:
    """Trial ``number`` waits before the iteration that ``held`` has for it."""
    while held.get(number) == iteration and Path(os.environ.get(HOLD, "/nonexistent")).exists():
        time.sleep(0.02)


def trial_number() -> int:
    return int(str(tune.get_trial_id()).rpartition("_")[2])


# -- trials that are jobs: a function with parameters, population based training ---------------------------------------


def climb(config: dict[str, Any], steps: list[float]) -> None:
    """Adds up; says from which iteration it went on, and with what."""
    total, since = 0.0, 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            since, total = json.loads((Path(directory) / "saved.json").read_text())
    for iteration in range(since + 1, 5):
        wait_held(trial_number(), {2: 2, 3: 2, 4: 1}, iteration)
        total += config["x"] * steps[iteration % len(steps)]
        with tune.checkpoint_dir(step=iteration) as directory:
            (Path(directory) / "saved.json").write_text(json.dumps([iteration, total]))
        tune.report(total=total, since=since, kept=json.dumps(config["pair"]), done=trial_number() == 0)


def one_cpu(spec: Any) -> dict[str, float]:
    """Resources by the configuration."""
    return {"cpu": float(spec.config["cpus"])}


def doubled(spec: Any) -> Any:
    return 2 * spec.config["x"]


class Teller(tune.Callback):
    """Writes what it is told into a file of the experiment; its state goes to the next driver."""

    def __init__(self, place: str) -> None:
        self.place, self.told = place, 0

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        self.told += 1

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        (Path(trials[0].local_path).parent / self.place).write_text(f"{self.told}\n")

    def get_state(self) -> dict[str, Any]:
        return {"told": self.told}

    def set_state(self, state: dict[str, Any]) -> None:
        self.told = state["told"]


class Never(tune.Stopper):
    """Sees every result, and stops nothing."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen += 1
        return self.seen > 1000

    def stop_all(self) -> bool:
        return False


def over(trial_id: str, result: dict[str, Any]) -> bool:
    return bool(result["total"] > 1000)


def trial_name(trial: Any) -> str:
    return f"climb-{trial.trial_id}"


def jobs() -> None:
    tune.run(
        tune.with_parameters(climb, steps=[1.0, 0.5]),
        name="jobs",
        metric="total",
        mode="max",
        config={
            "x": tune.uniform(1, 2),
            "pair": (1, 2),
            "cpus": tune.choice([1]),
            "layers": tune.grid_search([1, 2, 3, 4, 5]),
            "twice": tune.sample_from(doubled),
        },
        resources_per_trial=tune.sample_from(one_cpu),
        scheduler=tune.schedulers.PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=2,
            synch=True,
            hyperparam_mutations={"x": tune.uniform(1, 2)},
        ),
        stop=[Never(), tune.stopper.MaximumIterationStopper(4)],
        callbacks=[Teller("told.txt")],
        trial_name_creator=trial_name,
        storage_path="results",
        verbose=0,
        cluster=tune.LocalOptions(cpus=3, gpus=0),
    )


# -- workers that stay: a class, HyperBand, a searcher with a model ----------------------------------------------------


class Steps(tune.Trainable):
    """Adds up, one iteration at a time."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return None if config["x"] < 10 else {"cpu": 2}

    def setup(self, config: dict[str, Any]) -> None:
        self.x, self.total, self.steps, self.since = config["x"], 0.0, 0, 0

    def step(self) -> dict[str, Any]:
        self.steps += 1
        wait_held(trial_number(), {1: 2, 3: 1}, self.steps)
        self.total += self.x
        return {"total": self.total, "since": self.since}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"total": self.total, "steps": self.steps}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.total = checkpoint["total"]
        self.steps = self.since = checkpoint["steps"]


def cpus(spec: Any) -> int:
    return int(spec.config["cpus"])


def pool() -> None:
    search = tune.search.ConcurrencyLimiter(tune.search.GPSearch(), max_concurrent=4)
    tune.run(
        Steps,
        name="pool",
        metric="total",
        mode="max",
        config={"x": tune.uniform(1, 2), "cpus": 1, "kind": tune.choice(["a", "b"])},
        resources_per_trial={"cpu": cpus},
        search_alg=search,
        scheduler=tune.schedulers.HyperBandScheduler(max_t=3, reduction_factor=3),
        stop=tune.stopper.CombinedStopper(tune.stopper.MaximumIterationStopper(9), Never()),
        callbacks=[Teller("told.txt")],
        num_samples=6,
        checkpoint_freq=1,
        storage_path="results",
        verbose=0,
        workers=2,
        cluster=tune.LocalOptions(cpus=2, gpus=0),
    )


# -- every kind of object that users put into a search -----------------------------------------------------------------


def every_object() -> Iterator[Any]:
    """One of each, as they are before a search begins."""
    space = {"x": tune.uniform(0, 1)}
    schedulers, search, stopper = tune.schedulers, tune.search, tune.stopper
    base = schedulers.FIFOScheduler()
    yield from (
        base, schedulers.ASHAScheduler(), schedulers.AsyncHyperBandScheduler(), schedulers.ASHAPromotionScheduler(),
        schedulers.HyperBandScheduler(), schedulers.HyperBandForBOHB(), schedulers.MedianStoppingRule(),
        schedulers.PASHAScheduler(), schedulers.PopulationBasedTraining(hyperparam_mutations=space),
        schedulers.PB2(hyperparam_bounds={"x": [0, 1]}),
        schedulers.ResourceChangingScheduler(base, schedulers.DistributeResources()),
        schedulers.ResourceChangingScheduler(base, schedulers.DistributeResourcesToTopJob()),
        schedulers.ResourceChangingScheduler(base, schedulers.evenly_distribute_cpus_gpus),
    )  # fmt: skip
    yield from (
        search.BasicVariantGenerator(), search.GPSearch(), search.TPESearch(), search.OptunaSearch(),
        search.HyperOptSearch(), search.TuneBOHB(), search.Repeater(search.TPESearch(), 2),
        search.ConcurrencyLimiter(search.GPSearch(), 2), search.SearchGenerator(search.TPESearch()),
    )  # fmt: skip
    yield from (
        stopper.MaximumIterationStopper(3), stopper.NoopStopper(), stopper.TimeoutStopper(5),
        stopper.TrialPlateauStopper("loss"), stopper.ExperimentPlateauStopper("loss"),
        stopper.FunctionStopper(over), stopper.CombinedStopper(stopper.NoopStopper()),
    )  # fmt: skip
    yield from (
        tune.uniform(0, 1), tune.quniform(0, 1, 0.5), tune.loguniform(1, 2), tune.qloguniform(1, 2, 0.5),
        tune.randint(0, 2), tune.qrandint(0, 4, 2), tune.lograndint(1, 4), tune.qlograndint(1, 4, 2), tune.randn(),
        tune.qrandn(0, 1, 0.5), tune.choice([1, 2]), tune.sample_from(doubled), tune.grid_search([1, 2]),
    )  # fmt: skip
    yield from (
        tune.logger.CSVLoggerCallback(), tune.logger.JsonLoggerCallback(), tune.logger.TBXLoggerCallback(),
        tune.CLIReporter(), tune.Command("true {x}"), tune.PlacementGroupFactory([{"CPU": 1}]),
        tune.with_resources(climb, {"cpu": 2}), tune.pin_in_object_store([1]),
        tune.LocalOptions(), tune.SlurmOptions(), tune.CheckpointConfig(), tune.FailureConfig(), tune.RunConfig(),
        tune.TuneConfig(), tune.ResumeConfig(), tune.Checkpoint.from_directory("/tmp"),
    )  # fmt: skip


if __name__ == "__main__":
    import frozen_search  # so that pickles name it

    getattr(frozen_search, sys.argv[1])()
