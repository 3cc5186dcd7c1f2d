"""Record what Ray Tune's population based training decides on made-up results.

For tests/unit/schedulers/test_pbt_ray.py. Needs ``ray[tune]`` and scikit-learn, in an environment of its own:
``python scripts/ray_traces_pbt.py tests/traces``. Only Ray's scheduler interface is called, with stand-ins for trials
and controller. Every random draw is recorded, and so are the inputs of PB2's model, which itself is replaced by chance.
Every trial that has been evaluated has a checkpoint.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

STEPS = 180


class Draws:
    """Stands in for the module ``random`` in Ray's scheduler, and keeps what was drawn."""

    def __init__(self, name: str) -> None:
        self._rng, self.taken = random.Random(name), []  # type: ignore[var-annotated]

    def random(self) -> float:
        self.taken.append(round(self._rng.random(), 6))
        return self.taken[-1]

    def choice(self, values: Any) -> Any:
        self.taken.append(self._rng.randrange(len(values)))
        return values[self.taken[-1]]

    def empty(self) -> list[Any]:
        taken, self.taken = self.taken, []
        return taken


class StandIn:
    """What the schedulers look at in a trial."""

    def __init__(self, index: int, config: dict[str, Any], directory: str) -> None:
        self.index, self.config, self.trial_id = index, config, f"t{index:02d}"
        self.experiment_tag, self.status, self.checkpoint = str(index), "PENDING", "saved"
        self.evaluated_params: dict[str, Any] = {}
        self.last_result: dict[str, Any] = {}
        self.iteration, self.epoch = 0, 0.0
        self.local_experiment_path = self.local_dir = directory
        manager = SimpleNamespace(checkpoint_config=SimpleNamespace(num_to_keep=None), _latest_checkpoint_result=None)
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)
        self.temporary_state = SimpleNamespace(saving_to=None)

    def is_finished(self) -> bool:
        return self.status == "TERMINATED"

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag

    def __str__(self) -> str:
        return self.trial_id


class Controller:
    """What the schedulers ask of Ray's controller."""

    search_alg = None

    def __init__(self, trials: list[StandIn]) -> None:
        self._trials = trials

    def get_trials(self) -> list[StandIn]:
        return self._trials

    def get_live_trials(self) -> list[StandIn]:
        return [t for t in self._trials if not t.is_finished()]

    def pause_trial(self, trial: StandIn, should_checkpoint: bool = True) -> None:
        trial.status = "PAUSED"

    def _schedule_trial_save(self, trial: StandIn, result: Any = None) -> Any:
        saved = SimpleNamespace(checkpoint="saved", metrics=result)
        return SimpleNamespace(resolve=lambda: saved)


def cases() -> dict[str, dict[str, Any]]:
    """name -> scheduler arguments, what may be mutated (in words of :func:`mutations`), trials and places for them."""
    base: dict[str, Any] = {"time_attr": "training_iteration", "metric": "loss", "mode": "min"}
    plain = {**base, "perturbation_interval": 4}
    return {
        "pbt_default": {"arguments": plain, "trials": 8, "slots": 8},
        "pbt_max_half": {
            "arguments": {**plain, "mode": "max", "quantile_fraction": 0.5, "perturbation_factors": [1.5, 0.5]},
            "trials": 7, "slots": 7,
        },
        "pbt_burn_in": {
            "arguments": {**plain, "burn_in_period": 9, "resample_probability": 0.8}, "trials": 6, "slots": 6,
        },
        "pbt_jumps": {
            "arguments": {**plain, "time_attr": "epoch", "perturbation_interval": 7.5}, "trials": 8, "slots": 8,
        },
        "pbt_few_places": {"arguments": plain, "trials": 8, "slots": 3},
        "pbt_synch": {"arguments": {**plain, "synch": True, "quantile_fraction": 0.2}, "trials": 10, "slots": 10},
        "pbt_synch_few_places": {"arguments": {**plain, "synch": True, "burn_in_period": 6}, "trials": 7, "slots": 2},
        "pb2_default": {"arguments": plain, "trials": 6, "slots": 6},
        "pb2_synch": {"arguments": {**plain, "synch": True, "quantile_fraction": 0.4}, "trials": 6, "slots": 6},
    }  # fmt: skip


BOUNDS = {"lr": [0.001, 1.0], "batch": [8, 64], "model": {"drop": [0.0, 0.9]}}


def mutations(draws: Draws) -> dict[str, Any]:
    """A function, a list, a whole number, a switch, and one that is nested."""
    return {
        "lr": lambda: 10.0 ** -(3 * draws.random()),
        "batch": [8, 16, 32, 64],
        "layers": lambda: 1 + int(9 * draws.random()),
        "skip": lambda: draws.random() < 0.5,
        "model": {"drop": lambda: 0.9 * draws.random(), "act": ["relu", "tanh", "gelu"]},
    }


def start(index: int) -> dict[str, Any]:
    """The first config of a trial."""
    rng = random.Random(f"config {index}")
    model = {"drop": round(0.9 * rng.random(), 4), "act": rng.choice(["relu", "tanh", "gelu"])}
    lr, batch = round(10.0 ** -(3 * rng.random()), 6), rng.choice([8, 16, 32, 64])
    return {
        "lr": lr,
        "batch": batch,
        "layers": rng.randint(1, 9),
        "skip": rng.random() < 0.5,
        "model": model,
        "seed": 1,
    }


class Recorder:
    """Plays one case and keeps what happens."""

    def __init__(self, name: str, case: dict[str, Any], directory: str) -> None:
        from ray.tune.schedulers import pb2, pbt

        self.case, self.draws, self.rng = case, Draws(name), random.Random(name + " world")
        self.models: list[Any] = []
        pbt.random = self.draws  # type: ignore[assignment]
        pb2._select_config = self._select  # type: ignore[assignment]
        if name.startswith("pb2"):
            self.scheduler: Any = pb2.PB2(**case["arguments"], hyperparam_bounds=BOUNDS)
        else:
            self.scheduler = pbt.PopulationBasedTraining(
                **case["arguments"], hyperparam_mutations=mutations(self.draws), log_config=True
            )
        self.trials = [StandIn(i, start(i), directory) for i in range(case["trials"])]
        self.controller = Controller(self.trials)
        self.trace: list[Any] = []
        for trial in self.trials:
            self.scheduler.on_trial_add(self.controller, trial)

    def _select(self, points: Any, rates: Any, current: Any, newpoint: Any, bounds: Any, num_f: int) -> Any:
        draw = [
            (self.rng.randint if isinstance(low, int) else self.rng.uniform)(low, high) for low, high in bounds.values()
        ]
        chosen = [round(value, 4) for value in draw]
        batch = None if current is None else [[float(v) for v in row] for row in current]
        rows = [[float(v) for v in row] for row in points]
        self.models.append([rows, [float(v) for v in rates], batch, [float(v) for v in newpoint], chosen])
        return chosen

    def play(self) -> list[Any]:
        for step in range(STEPS):
            self._admit()
            running = [t for t in self.trials if t.status == "RUNNING"]
            if not running:
                break
            trial = min(self.rng.choice(running), self.rng.choice(running), key=lambda t: t.index)
            self._result(trial)
            if step in (90, 140):
                gone = max((t for t in self.trials if t.status == "RUNNING"), key=lambda t: t.index, default=None)
                if gone is not None and len(self.controller.get_live_trials()) > 3:
                    self.scheduler.on_trial_complete(self.controller, gone, gone.last_result)
                    gone.status = "TERMINATED"
                    self.trace.append(["end", gone.index])
        return self.trace

    def _admit(self) -> None:
        while sum(t.status == "RUNNING" for t in self.trials) < self.case["slots"]:
            chosen = self.scheduler.choose_trial_to_run(self.controller)
            if chosen is None:
                return
            chosen.status = "RUNNING"
            self.trace.append(["choose", chosen.index])

    def _result(self, trial: StandIn) -> None:
        row = self._row(trial)
        before = {t.index: (t.config, self.scheduler._trial_state[t].last_train_time) for t in self.trials}
        decision = self.scheduler.on_trial_result(self.controller, trial, dict(row))
        trial.last_result = row
        exploits = []
        for other in self.trials:
            if other.config is not before[other.index][0]:
                exploits.append([other.index, self._donor(other), other.config, other.experiment_tag])
        if decision in ("PAUSE", "NOOP"):
            trial.status = "PAUSED"
        for state in self.scheduler._trial_state.values():
            state.last_checkpoint = "saved"
        quantiles = [[t.index for t in part] for part in self.scheduler._quantiles()]
        models, self.models = self.models, []
        self.trace.append(["result", trial.index, row, decision, exploits, self.draws.empty(), quantiles, models])
        if self.case["slots"] == len(self.trials) and not self.case["arguments"].get("synch"):
            trial.status = "RUNNING"  # Ray starts it again at once

    def _donor(self, trial: StandIn) -> int:
        """Whose weights it has now: it goes on from there."""
        result = trial.run_metadata.checkpoint_manager._latest_checkpoint_result
        donor = next(t for t in self.trials if self.scheduler._trial_state[t].last_result is result.metrics)
        trial.iteration, trial.epoch = result.metrics["training_iteration"], result.metrics["epoch"]
        return donor.index

    def _row(self, trial: StandIn) -> dict[str, Any]:
        trial.iteration += 1
        trial.epoch += self.rng.choice((0.5, 1.0, 2.0, 9.0))
        config = trial.config
        loss = abs(config["lr"] - 0.1) + config["model"]["drop"] + 1.0 / trial.iteration + self.rng.gauss(0.0, 0.02)
        value = round(loss if self.case["arguments"]["mode"] == "min" else -loss, 2)
        return {"training_iteration": trial.iteration, "epoch": trial.epoch, "loss": value}


def replay(directory: Path) -> list[Any]:
    """For each policy file: its lines, the first config, and the changes that Ray makes on the way."""
    from ray.tune.schedulers import PopulationBasedTrainingReplay

    found = []
    for path in sorted(directory.glob("pbt_policy_*.txt")):
        scheduler = PopulationBasedTrainingReplay(str(path))
        trial = StandIn(0, {}, str(directory))
        controller = Controller([trial])
        scheduler.on_trial_add(controller, trial)
        first, changes = trial.config, []
        for iteration in range(1, 60):
            scheduler.on_trial_result(controller, trial, {"training_iteration": iteration})
            if trial.status == "PAUSED":
                trial.status = "RUNNING"
                changes.append([iteration, trial.config])
        found.append([path.read_text().splitlines(), first, changes])
    return found


def write(path: Path, data: dict[str, Any], key: str, items: list[Any]) -> None:
    lines = ",\n".join(json.dumps(item) for item in items)
    path.write_text(json.dumps(data)[:-1] + f', "{key}": [\n{lines}\n]}}\n')
    print(path.name, len(items))


def main(target: Path) -> None:
    """Write one file for each case."""
    import ray

    replays: list[Any] = []
    for name, case in cases().items():
        with tempfile.TemporaryDirectory() as directory:
            recorder = Recorder(name, case, directory)
            configs = [trial.config for trial in recorder.trials]
            data = {"ray": ray.__version__, **case, "configs": configs}
            write(target / f"{name}.json", data, "trace", recorder.play())
            replays += replay(Path(directory)) if name in ("pbt_default", "pbt_few_places", "pbt_max_half") else []
    write(target / "pbt_replay.json", {"ray": ray.__version__}, "policies", replays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
