"""What the scripts beside this file share. They import ray, whatever that is: Ray itself, or hpctune in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray import tune


def steps(config: dict[str, Any]) -> None:
    """Reports ``loss`` = x / step and ``step``, four times or ``steps`` times."""
    for step in range(1, config.get("steps", 4) + 1):
        tune.report({"loss": config.get("x", 1) / step, "step": step})


def saving(config: dict[str, Any]) -> None:
    """Saves its step with each report, goes on from there, and fails once at the step ``fails_at``."""
    first = 1
    if tune.get_checkpoint():
        with tune.get_checkpoint().as_directory() as folder:
            first = json.loads(Path(folder, "state.json").read_text())["step"] + 1
    for step in range(first, config.get("steps", 4) + 1):
        if step == config.get("fails_at") and not Path(config["marker"]).exists():
            Path(config["marker"]).touch()
            raise ValueError("by design")
        Path("here").mkdir(exist_ok=True)
        Path("here", "state.json").write_text(json.dumps({"step": step}))
        score = config.get("scores", {}).get(step, step)
        metrics = {"loss": config.get("x", 1) / step, "step": step, "score": score, "first": first}
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory("here"))


class Counter(tune.Trainable):
    """Counts its steps; saves and restores the count."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"loss": self.config.get("x", 1) / self.count, "count": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "count").write_text(str(self.count))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = int(Path(checkpoint, "count").read_text())


def run(trainable: Any, place: Path, **options: Any) -> Any:
    """``tune.run`` in ``place``, in silence, one trial at a time."""
    return tune.run(
        trainable, **{"storage_path": str(place), "name": "exp", "verbose": 0, "max_concurrent_trials": 1, **options}
    )


def fit(trainable: Any, place: Path, space: dict[str, Any] | None = None, config: Any = (), **run_config: Any) -> Any:
    """``Tuner.fit`` in ``place``, in silence, one trial at a time. ``config``: what TuneConfig gets."""
    return tuner(trainable, place, space, config, **run_config).fit()


def tuner(trainable: Any, place: Path, space: Any = None, config: Any = (), **run_config: Any) -> Any:
    """The Tuner of :func:`fit`."""
    return tune.Tuner(
        trainable,
        param_space=space or {},
        tune_config=tune.TuneConfig(**{"max_concurrent_trials": 1, **dict(config)}),
        run_config=tune.RunConfig(**{"storage_path": str(place), "name": "exp", "verbose": 0, **run_config}),
    )


def iterations(analysis: Any) -> list[int]:
    """How far each trial came."""
    return [trial.last_result.get("training_iteration", 0) for trial in analysis.trials]


def statuses(analysis: Any) -> list[str]:
    """How each trial ended."""
    return [trial.status for trial in analysis.trials]


def raised(call: Any, *arguments: Any, **options: Any) -> Any:
    """The names of the class of what ``call`` raises, and of its bases; or "nothing"."""
    try:
        call(*arguments, **options)
    except Exception as error:
        return {"raises": [each.__name__ for each in type(error).__mro__ if each not in (object, BaseException)]}
    return "nothing"
