"""Aim: a logger callback, which runs in the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.integration.packages import require
from hpctune.integration.tracker import TrackerCallback, note_of, write_note
from hpctune.model.metric_stats import as_number
from hpctune.model.rows import flatten
from hpctune.trial import Trial

_ROWS = "hpctune_rows"
"""The attribute of a run that says how many rows it has."""


class AimLoggerCallback(TrackerCallback):
    """One run of Aim for each trial, in a repository on this filesystem (or on an Aim server). ``aim up`` shows it.

    Args:
        repo: The repository's directory or address (``aim://host:port``); default: the experiment's directory.
        experiment_name: Aim's experiment; default: the name of the experiment here.
        metrics: The values to track; None: all numbers.
        aim_run_kwargs: Arguments of ``aim.Run``.

    Raises:
        MissingPackageError: without the package aim.
    """

    service = "Aim"

    def __init__(
        self,
        repo: str | os.PathLike[str] | Any = None,
        experiment_name: str | None = None,
        metrics: Sequence[str] | None = None,
        **aim_run_kwargs: Any,
    ) -> None:
        super().__init__()
        _package()
        self.repo = str(repo) if isinstance(repo, os.PathLike) else repo
        self.experiment_name = experiment_name
        self.metrics = None if metrics is None else frozenset(metrics)
        self.aim_run_kwargs = aim_run_kwargs
        self._runs: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_runs": {}}

    def _open(self, trial: Trial, name: str) -> int:
        noted = note_of(trial, self.service)
        known = noted.get("hash") if noted.get("run") == name else None
        if name not in self._runs:
            self._runs[name] = self._run(trial, known)
        run = self._runs[name]
        if known is None:
            run["trial_id"], run["trial_name"] = trial.trial_id, str(trial)
            run.name = str(trial)
            write_note(trial, self.service, {**noted, "run": name, "hash": run.hash})
        return int(run.get(_ROWS) or 0)

    def _run(self, trial: Trial, known: str | None) -> Any:
        aim = _package()
        repo = self.repo if self.repo is not None else trial.local_experiment_path
        if isinstance(repo, str) and "://" not in repo and not (Path(repo) / ".aim" / "VERSION").is_file():
            if self.repo is None:  # a driver that was killed while it made the repository leaves its lock
                (Path(repo) / ".aim" / "locks" / "structured_db_lock").unlink(missing_ok=True)
            aim.Repo.from_path(repo, init=True)
        given = {"system_tracking_interval": None, "capture_terminal_logs": False, **self.aim_run_kwargs}
        experiment = self.experiment_name or trial.experiment_dir_name
        if known is not None:
            return aim.Run(known, repo=repo, force_resume=True, **given)
        return aim.Run(repo=repo, experiment=experiment, **given)

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        self._runs[name]["hparams"] = {key: _plain(value) for key, value in flatten(config).items()}

    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        run = self._runs[name]
        values = {key: value for key, value in flatten(row).items() if not key.startswith("config/")}
        numbers = {key: amount for key, value in values.items() if (amount := as_number(value)) is not None}
        step = int(numbers.get("training_iteration") or number)
        epoch = numbers.get("epoch")
        for key, amount in numbers.items():
            if self.metrics is None or key in self.metrics:
                run.track(amount, name=key, step=step, epoch=None if epoch is None else int(epoch))
        run[_ROWS] = number

    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        run = self._runs.pop(name, None)
        if run is not None:
            run["status"] = "ERROR" if failed else "TERMINATED"
            run.close()

    def _close(self) -> None:
        while self._runs:
            self._runs.popitem()[1].close()


def _plain(value: Any) -> Any:
    """A value as Aim can store it."""
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def _package() -> Any:
    return require("aim", "aim", "AimLoggerCallback")
