"""One experiment as analysis sees it: its trials, and their results when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from hpctune.model.rows import flatten
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import specfile
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import CountedRow, read_experiment
from hpctune.trial import Trial


class LoadedExperiment:
    """Reads the journal at most once. With ``trials`` given (a driver has them) only when rows are needed."""

    def __init__(self, path: Path, trials: Sequence[Trial] | None = None) -> None:
        self.paths = ExperimentPaths(path)
        self._rows: dict[str, list[CountedRow]] | None = None
        if trials is None:
            self.spec, self.trials = self._read()
        else:
            self.spec, self.trials = specfile.read(self.paths), list(trials)

    def _read(self) -> tuple[ExperimentSpec, list[Trial]]:
        view = read_experiment(self.paths.root, with_rows=True)
        rows: dict[str, list[CountedRow]] = {trial_id: [] for trial_id in view.state.trials}
        for row in view.rows:
            rows[row.trial_id].append(row)
        self._rows, spec = rows, view.state.spec
        trials = [
            Trial(value, view.paths, spec, [r.row for r in rows[value.trial_id]])
            for value in view.state.trials.values()
        ]
        return spec, trials

    def rows(self, trial_id: str) -> list[CountedRow]:
        """The counted results of one trial, in order."""
        if self._rows is None:
            self._read()
        assert self._rows is not None
        return self._rows.get(trial_id, [])


def experiment_root(path: str | Path) -> Path:
    """The experiment's directory; ``path`` may also name its ``experiment.json``."""
    root = Path(path).expanduser().absolute()
    return root.parent if root.name == "experiment.json" and root.is_file() else root


def reported_keys(trials: Collection[Trial]) -> list[str]:
    """Every key, flat, that the last result of any trial has; without the configuration."""
    keys: dict[str, None] = {}
    for trial in trials:
        keys |= dict.fromkeys(flatten({k: v for k, v in trial.value.last.items() if k != "config"}))
    return list(keys)
