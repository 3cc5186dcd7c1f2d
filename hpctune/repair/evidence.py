"""What an experiment's other files say, where its journal has holes: run files, ``result.json``, control files,
``params.pkl``, and which checkpoints are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.common import unpickling
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import Control, ResultRow
from hpctune.model.resources import Resources
from hpctune.model.rows import flatten
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Trial
from hpctune.output.loggers.json import PARAMS_FILE, PARAMS_PICKLE, RESULT_FILE
from hpctune.storage import checkpoints, control_file, permissions, values
from hpctune.storage.layout import ExperimentPaths, checkpoint_name
from hpctune.storage.run_file import RunTail


class DiskEvidence:
    """Read when asked for, and only once."""

    def __init__(self, paths: ExperimentPaths, spec: ExperimentSpec) -> None:
        self._paths, self._spec = paths, spec
        self._rows: dict[str, list[ResultRow]] = {}

    def added(self, index: int, identity: str) -> e.TrialAdded | None:
        """From the control file, else from the parameter files, of the directory that bears the trial's id."""
        root = self._directory(identity)
        if root is None:
            return None
        control = _control(Path(self._paths.trial(root.name).control), identity)
        config = control.config if control is not None else _config(root)
        if config is None:
            return None
        tag = control.experiment_tag if control is not None else _tag(root, index)
        resources = Resources.from_json(control.resources) if control is not None else Resources()
        name = control.trial_name if control is not None else f"{self._spec.trainable}_{identity}"
        evaluated = values.plain(flatten(dict(config)))
        return e.TrialAdded(
            identity, index, name, root.name, tag, config, evaluated, resources, self._spec.restore
        )  # fmt: skip

    def finalized(self, trial: Trial) -> bool:
        """Its directory is there, and nothing in it is for a run or by one."""
        paths = self._paths.trial(trial.dirname)
        return paths.root.is_dir() and not permissions.exists(paths.control) and not any(paths.root.glob("run-*.jsonl"))

    def reported(self, trial: Trial, run: RunKey | None) -> Sequence[ResultRow]:
        paths = self._paths.trial(trial.dirname)
        if run is not None:
            records = RunTail(paths.run(run.attempt, run.restart), run).read()
            return [record for record in records if isinstance(record, ResultRow)]
        if trial.trial_id not in self._rows:
            self._rows[trial.trial_id] = [self._counted(trial, row) for row in _json_lines(paths.root / RESULT_FILE)]
        return self._rows[trial.trial_id]

    def _counted(self, trial: Trial, row: Mapping[str, Any]) -> ResultRow:
        """A row of ``result.json``, with its checkpoint if one of its attempt and iteration is there."""
        attempt = row.get("attempt")
        run = RunKey(trial.trial_id, attempt if isinstance(attempt, int) else 1, 0)
        iteration = row.get("training_iteration")
        root = self._paths.trial(trial.dirname)
        name = checkpoint_name(run, iteration) if isinstance(iteration, int) else ""
        if not name or not root.checkpoint(name).is_dir():
            return ResultRow(run, 0, row)
        return ResultRow(run, 0, row, name, checkpoints.bytes_in(root.checkpoint(name)))

    def _directory(self, identity: str) -> Path | None:
        try:
            found = [p for p in self._paths.root.iterdir() if identity in p.name and p.is_dir()]
        except OSError:
            return None
        return found[0] if len(found) == 1 else None


def _control(path: Path, identity: str) -> Control | None:
    try:
        control = control_file.read(path)
    except StorageError:
        return None
    return control if control is not None and control.trial_id == identity else None


def _config(root: Path) -> Mapping[str, Any] | None:
    """The exact configuration if it may be unpickled, else the readable one."""
    try:
        config = unpickling.loads(values.trusted_bytes(root / PARAMS_PICKLE))
        return config if isinstance(config, Mapping) else None
    except Exception:  # it is not trusted, or whatever unpickling may raise
        pass
    try:
        config = json.loads((root / PARAMS_FILE).read_bytes())
    except (OSError, ValueError):
        rows = _json_lines(root / RESULT_FILE)
        config = rows[0].get("config") if rows else None
    return config if isinstance(config, Mapping) else None


def _tag(root: Path, index: int) -> str:
    """As the directory's name has it."""
    start = root.name.find(f"_{index}_")
    return root.name[start + 1 :] if start >= 0 else str(index)


def _json_lines(path: Path) -> list[Mapping[str, Any]]:
    rows = []
    try:
        data = path.read_bytes()
    except OSError:
        return []
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, Mapping):
            rows.append(row)
    return rows
