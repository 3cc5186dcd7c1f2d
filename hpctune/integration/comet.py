"""Comet: a logger callback, which runs in the driver."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError
from hpctune.integration.packages import require
from hpctune.integration.tracker import TrackerCallback, note_of, write_note
from hpctune.model.metric_stats import as_number
from hpctune.model.rows import flatten
from hpctune.trial import Trial

KEY = "COMET_API_KEY"
_EMPTY = 22
"""Bytes of an archive with nothing in it."""
FOLDER = "comet"
"""The directory of offline archives, in the experiment's."""


class CometLoggerCallback(TrackerCallback):
    """One experiment of Comet for each trial. Only the driver's node talks to Comet.

    Args:
        online: Whether to send results now, which needs COMET_API_KEY (or ~/.comet.config). False: archives in the
            directory ``comet`` of the experiment; ``comet upload comet/*.zip`` sends them later.
        tags: Tags of every experiment.
        save_checkpoints: Whether to store the checkpoints, too.
        experiment_kwargs: Arguments of ``comet_ml.Experiment`` (or ``OfflineExperiment``), such as ``project_name`` and
            ``workspace``. The key belongs into the environment.

    Raises:
        MissingPackageError: without the package comet_ml.
        UsageError: for online results without a key, or with one as an argument.
    """

    service = "Comet"

    def __init__(
        self,
        online: bool = True,
        tags: list[str] | None = None,
        save_checkpoints: bool = False,
        **experiment_kwargs: Any,
    ) -> None:
        super().__init__()
        comet = _package()
        if experiment_kwargs.get("api_key"):
            raise UsageError(
                f"api_key= would be stored with the experiment. Set the environment variable {KEY} instead."
            )
        if online and not comet.config.get_api_key(None, comet.get_config()):
            raise UsageError(f"Comet needs a key: set {KEY}. Without internet: CometLoggerCallback(online=False).")
        self.online, self.tags, self.save_checkpoints = online, list(tags or ()), save_checkpoints
        self.experiment_kwargs = experiment_kwargs
        self._experiments: dict[str, Any] = {}
        self._rows: dict[str, int] = {}
        self._trials: dict[str, Trial] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_experiments": {}, "_rows": {}, "_trials": {}}

    def _open(self, trial: Trial, name: str) -> int:
        noted = note_of(trial, self.service)
        there = int(noted.get("rows", 0)) if noted.get("run") == name else 0
        self._trials[name] = trial
        if name not in self._experiments:
            made = self._made(trial, name, again=noted.get("run") == name)
            _package().config.set_global_experiment(None)  # else the next one ends this one
            self._experiments[name] = made
            if noted.get("run") != name:
                made.set_name(str(trial))
                made.add_tags([*self.tags, trial.experiment_dir_name])
                made.log_other("trial_id", trial.trial_id)
                write_note(trial, self.service, {**noted, "run": name, "rows": 0})
        self._rows.setdefault(name, there)
        return there

    def _made(self, trial: Trial, name: str, *, again: bool) -> Any:
        """The experiment of Comet with the key that belongs to this trial."""
        comet = _package()
        key = hashlib.sha256(f"{trial.local_experiment_path} {name}".encode()).hexdigest()[:40]
        quiet = {
            "log_code": False, "auto_output_logging": False, "log_env_details": False, "log_git_metadata": False,
            "parse_args": False, "display_summary_level": 0,
        }  # fmt: skip
        given = {**quiet, **self.experiment_kwargs}
        if self.online:
            return (
                comet.ExistingExperiment(previous_experiment=key, **given)
                if again
                else comet.Experiment(experiment_key=key, **given)
            )
        folder = Path(trial.local_experiment_path) / FOLDER
        folder.mkdir(exist_ok=True)
        given["offline_directory"] = str(folder)
        for archive in folder.glob(f"{key}*.zip"):
            if archive.stat().st_size <= _EMPTY:  # of a driver that was killed; what it held is delivered again
                archive.unlink()
        if again:
            return comet.ExistingOfflineExperiment(previous_experiment=key, **given)
        return comet.OfflineExperiment(experiment_key=key, **given)

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        self._experiments[name].log_parameters(flatten(config))

    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        values = {key: value for key, value in flatten(row).items() if not key.startswith("config/")}
        numbers = {key: amount for key, value in values.items() if (amount := as_number(value)) is not None}
        step = int(numbers.get("training_iteration") or number)
        self._experiments[name].log_metrics(numbers, step=step)
        self._rows[name] = number
        for key, value in values.items():
            if key not in numbers and value is not None:
                self._experiments[name].log_other(key, str(value))
        if self.online:
            self._note_rows(trial, name)

    def _note_rows(self, trial: Trial, name: str) -> None:
        """Note how many rows are with Comet, or in an archive: what an archive holds exists when it is closed."""
        write_note(trial, self.service, {**note_of(trial, self.service), "rows": self._rows.get(name, 0)})

    def _wants_checkpoints(self) -> bool:
        return self.save_checkpoints

    def _checkpoint(self, trial: Trial, name: str, path: str) -> None:
        self._experiments[name].log_asset_folder(path, log_file_name=True)

    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        made = self._experiments.pop(name, None)
        if made is not None:
            made.log_other("status", "ERROR" if failed else "TERMINATED")
            made.end()
            self._note_rows(trial, name)

    def _close(self) -> None:
        while self._experiments:
            name, made = self._experiments.popitem()
            made.end()
            self._note_rows(self._trials[name], name)


def _package() -> Any:
    os.environ.setdefault("COMET_LOGGING_CONSOLE", "error")
    return require("comet_ml", "comet", "CometLoggerCallback")
