"""An experiment in MLflow or W&B: the runs that their callbacks make, with what is missing in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.pictures.trials import state_of
from hpctune.errors import StorageError, TuneError
from hpctune.integration.mlflow import MLflowLoggerCallback
from hpctune.integration.tracker import run_name
from hpctune.integration.wandb import WandbLoggerCallback
from hpctune.interop.export.target import Progress
from hpctune.model.trial import Phase
from hpctune.storage import atomic
from hpctune.trial import Trial

NOTE = "hpctune-export.json"
"""What was exported to a folder of W&B's runs: of each trial the number of results, and its state."""


def to_mlflow(loaded: LoadedExperiment, uri: str | None, name: str | None, progress: Progress) -> int:
    """Bring the runs in MLflow up to date; returns how many trials have one.

    Args:
        loaded: The experiment.
        uri: A tracking URI; None: ``MLFLOW_TRACKING_URI``.
        name: MLflow's experiment; None: the name of the experiment here.
        progress: Is told how far it is.

    Raises:
        MissingPackageError: without the package mlflow (or mlflow-skinny).
        StorageError: if MLflow cannot be reached, or refuses something.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    tracker = _MLflow(uri, experiment_name=name or loaded.paths.root.name)
    return _deliver(tracker, loaded, progress)


def to_wandb(loaded: LoadedExperiment, folder: Path, project: str | None, progress: Progress) -> int:
    """Write runs for ``wandb sync`` to ``folder``, as far as they are not there; returns how many trials have one.

    A trial of which there is more since the last time gets one more file, of the same run.

    Raises:
        MissingPackageError: without the package wandb.
        StorageError: if wandb cannot write.
    """
    folder.mkdir(exist_ok=True)
    tracker = _Wandb(folder, project or loaded.paths.root.name, loaded.paths.root.name)
    return _deliver(tracker, loaded, progress)


class _MLflow(MLflowLoggerCallback):
    def write(self, trial: Trial, name: str, first: int, rows: list[Mapping[str, Any]]) -> None:
        self._params(name, trial.config)
        self._log_rows(name, first, rows)
        about = {"state": state_of(trial.value).value, "directory": trial.local_path}
        if trial.value.error is not None:
            about["error"] = str(trial.value.error)
        for key, value in about.items():
            self._client.set_tag(self._runs[name], f"hpctune.{key}", value)
        if trial.value.phase.final:
            self._end(trial, name, trial.value.phase is Phase.ERROR)

    def done(self, trial: Trial) -> bool:
        return False


class _Wandb(WandbLoggerCallback):
    def __init__(self, folder: Path, project: str, group: str) -> None:
        super().__init__(project=project, group=group, mode="offline")
        self._folder = folder
        self._note = folder / NOTE
        self._known: dict[str, Any] = json.loads(self._note.read_bytes()) if self._note.exists() else {}

    def _directory(self, trial: Trial) -> Path:
        return self._folder

    def write(self, trial: Trial, name: str, first: int, rows: list[Mapping[str, Any]]) -> None:
        self._config(trial, name, trial.config)
        for number, row in enumerate(rows, first):
            self._log(trial, name, number, row)
        self._run(trial, name).summary.update({"hpctune/state": state_of(trial.value).value})
        self._end(trial, name, trial.value.phase is Phase.ERROR)
        self._known[trial.trial_id] = _stand(trial)
        atomic.write(self._note, json.dumps(self._known))

    def done(self, trial: Trial) -> bool:
        return bool(self._known.get(trial.trial_id) == _stand(trial))


def _stand(trial: Trial) -> list[Any]:
    return [trial.value.results, state_of(trial.value).value]


def _deliver(tracker: _MLflow | _Wandb, loaded: LoadedExperiment, progress: Progress) -> int:
    begun = [trial for trial in loaded.trials if trial.value.started_at is not None]
    try:
        for number, trial in enumerate(begun, 1):
            progress(number, len(begun))
            if not tracker.done(trial):
                rows = [counted.row for counted in loaded.rows(trial.trial_id)]
                name, there = _opened(tracker, trial, len(rows))
                tracker.write(trial, name, there + 1, rows[there:])
        tracker._close()
    except TuneError:
        raise
    except Exception as error:
        raise StorageError(
            f"{tracker.service} has not taken all trials: {type(error).__name__}: {error}. What it has is kept; the "
            "same command goes on from there."
        ) from error
    return len(begun)


def _opened(tracker: _MLflow | _Wandb, trial: Trial, rows: int) -> tuple[str, int]:
    """The name of a trial's run, and how many rows it has. A run that has more rows is of a life before a restart."""
    life = 1
    while (there := tracker._open(trial, name := run_name(trial, life))) > rows:
        life += 1
    return name, there
