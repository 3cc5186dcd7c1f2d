"""One trial of a KerasTuner in a job: the script runs again up to its search, which is this trial and nothing else.

So does KerasTuner divide a search itself: each worker runs the script, and asks the chief for trials.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from hpctune.errors import TrainableError
from hpctune.interop.keras_tuner.patching import patched
from hpctune.model.rows import PRIVATE
from hpctune.usercode.main_module import begin_main, remember_lines
from hpctune.worker.context import get_trial_id, report_row


class TrialEnded(BaseException):
    """Ends the script in a job, behind its trial."""


class TunerTrial:
    """The trainable: the script at ``path`` with the ``text`` and ``arguments`` that it had when the search began.

    ``number``: which of the searches of the script, from 1. The earlier ones are over: their tuners have their results.
    """

    no_transfer = (
        "KerasTuner's directory must be one that all machines see, so a tuner does not go with --hosts or "
        "--file-transfer. Define the search space for hpctune, and train with hpctune.integration.keras."
    )

    def __init__(self, path: Path, text: str, arguments: list[str], number: int, name: str) -> None:
        self.path, self.text, self.arguments, self.number = path, text, arguments, number
        self.__name__ = name

    def __call__(self, config: Mapping[str, Any]) -> None:
        """Run the trial. An error of it is raised; the search goes on with others."""
        os.environ["KERASTUNER_TUNER_ID"] = f"hpctune-{get_trial_id()}"  # a new one: nothing is loaded for it
        run = _Run(config[PRIVATE]["trial"], self.number)
        try:
            with patched(run.methods):
                self._run_script()
        except TrialEnded:
            return
        raise TrainableError(
            f"{self.path} has ended in the job before its call number {self.number} of tuner.search(...). The script "
            f"runs again in each job: it must come to the same call there, with the same arguments."
        )

    def _run_script(self) -> None:
        module = begin_main(str(self.path), self.arguments)
        remember_lines({str(self.path): self.text})
        exec(compile(self.text, str(self.path), "exec", dont_inherit=True), vars(module))


class _Run:
    """What ``BaseTuner`` does in the job of the trial that has this ``state``."""

    def __init__(self, state: Mapping[str, Any], number: int) -> None:
        self.state, self.number, self.calls = state, number, 0
        self.updates: list[tuple[dict[str, float], int]] = []

    def methods(self, base: type) -> dict[str, Callable[..., Any]]:
        """The replacements."""

        def search(tuner: Any, *args: Any, **kwargs: Any) -> None:
            self.calls += 1
            if self.calls < self.number:
                tuner.tuner_id = "tuner0"
                tuner.reload()
                return
            self.run(tuner, args, kwargs)
            raise TrialEnded

        return {"__init__": without_overwriting(base), "search": search}

    def run(self, tuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the trial, and report its results: each epoch, and what KerasTuner makes of them in the end."""
        from keras_tuner.engine.trial import Trial

        oracle = tuner.oracle
        trial = Trial.from_state(self.state)
        oracle.trials[trial.trial_id] = trial
        oracle.ongoing_trials[tuner.tuner_id] = trial
        # The oracle of the driver decides, and writes the project's files.
        oracle.save = oracle._save_trial = oracle.end_trial = tuner.save = _nothing
        oracle.update_trial = self._noting(oracle.update_trial)
        oracle.get_trial = _with_earlier(oracle)
        if hasattr(tuner, "on_epoch_end"):
            tuner.on_epoch_end = _reporting(tuner)
        tuner.on_search_begin()
        tuner.pre_create_trial()
        tuner.on_trial_begin(trial)
        tuner._run_and_update_trial(trial, *args, **kwargs)
        trial.status = "COMPLETED"
        tuner.on_trial_end(trial)
        oracle.score_trial(trial)
        told = {"updates": self.updates, "hyperparameters": trial.hyperparameters.get_config()}
        values = {name: float(value) for metrics, _ in self.updates for name, value in metrics.items()}
        score = {} if trial.score is None else {oracle.objective.name: float(trial.score)}
        report_row({**values, **score, "config": dict(trial.hyperparameters.values), PRIVATE: told})

    def _noting(self, update: Callable[..., Any]) -> Callable[..., Any]:
        def update_trial(trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Any:
            self.updates.append(({name: float(value) for name, value in metrics.items()}, int(step or 0)))
            return update(trial_id, metrics, step=step)

        return update_trial


def without_overwriting(base: Any) -> Callable[..., None]:
    """``BaseTuner.__init__`` that removes no files of a project."""
    original = base.__init__
    signature = inspect.signature(original)

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.arguments["overwrite"] = False
        original(*bound.args, **bound.kwargs)

    return init


def _reporting(tuner: Any) -> Callable[..., Any]:
    """``on_epoch_end`` that reports the values of the epoch."""
    original = tuner.on_epoch_end
    objective = tuner.oracle.objective

    def on_epoch_end(trial: Any, model: Any, epoch: int, logs: Mapping[str, Any] | None = None) -> Any:
        done = original(trial, model, epoch, logs=logs)
        if logs and objective.has_value(logs):
            row = {name: float(value) for name, value in logs.items()}
            report_row({**row, objective.name: float(objective.get_value(logs)), "epoch": epoch + 1})
        return done

    return on_epoch_end


def _with_earlier(oracle: Any) -> Callable[[str], Any]:
    """``Oracle.get_trial`` that knows the trials that other jobs have run."""
    from keras_tuner.engine.trial import Trial

    def get_trial(trial_id: str) -> Any:
        if trial_id not in oracle.trials:
            oracle.trials[trial_id] = Trial.load(str(Path(oracle._get_trial_dir(trial_id)) / "trial.json"))
        return oracle.trials[trial_id]

    return get_trial


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for what only the driver does."""
