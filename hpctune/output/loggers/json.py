"""``result.json`` (one JSON object per line), ``params.json`` and ``params.pkl``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpctune.errors import StorageError
from hpctune.output.callback import LoggerCallback
from hpctune.output.loggers.append_files import AppendFiles
from hpctune.storage import atomic, permissions, values
from hpctune.trial import Trial

RESULT_FILE, PARAMS_FILE, PARAMS_PICKLE = "result.json", "params.json", "params.pkl"


class JsonLoggerCallback(LoggerCallback):
    """Writes every result as one line of ``result.json``, and the configuration beside it."""

    rebuilds = True

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._paths: dict[str, str] = {}
        self._owed: dict[str, Mapping[str, Any]] = {}
        """Configurations that could not be written yet."""

    def log_trial_start(self, trial: Trial) -> None:
        self.update_config(trial, trial.value.config)
        self._files.start(self._path(trial))

    def log_trial_restore(self, trial: Trial) -> None:
        self.update_config(trial, trial.value.config)  # it may have taken over another trial's checkpoint

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        if trial.trial_id in self._owed:
            self.update_config(trial, self._owed[trial.trial_id])
        self._files.append(self._path(trial), values.dumps(result).encode() + b"\n")

    def flush(self) -> None:
        self._files.flush()

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._files.release(self._path(trial))
        self._owed.pop(trial.trial_id, None)
        self._paths.pop(trial.trial_id, None)

    def _path(self, trial: Trial) -> str:
        path = self._paths.get(trial.trial_id)
        if path is None:
            path = self._paths[trial.trial_id] = trial.paths.at(RESULT_FILE)
        return path

    def update_config(self, trial: Trial, config: Mapping[str, Any]) -> None:
        """Write ``params.json`` (for people) and ``params.pkl`` (exact)."""
        import cloudpickle

        paths = trial.paths
        try:
            permissions.make_directory(paths.text, exist_ok=True)
            atomic.write(paths.at(PARAMS_FILE), json.dumps(values.plain(config), indent=2, sort_keys=True) + "\n")
            atomic.write(paths.at(PARAMS_PICKLE), cloudpickle.dumps(dict(config)), mode=permissions.PRIVATE_FILE)
        except (OSError, StorageError):
            self._owed[trial.trial_id] = config
        else:
            self._owed.pop(trial.trial_id, None)

    def close(self) -> None:
        self._files.close()
