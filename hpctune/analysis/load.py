"""One experiment for analysis: its trials, and their results, which are read on demand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from hpctune.common import urls
from hpctune.errors import NotAnExperimentError
from hpctune.mirror.fetch import readable, readable_all
from hpctune.mirror.options import as_text, is_elsewhere
from hpctune.model import trial as model
from hpctune.model.rows import NOT_SHOWN, flatten
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.names import is_experiment, no_experiment, stored
from hpctune.storage.reader import CountedRow, counted_rows, read_experiment
from hpctune.trial import Trial

_loaded: WeakSet[LoadedExperiment] = WeakSet()


def follow(old: ExperimentPaths, new: Path) -> None:
    """Let what this process has loaded of the experiment at ``old`` go on with it at ``new``, which is its new name."""
    for loaded in list(_loaded):
        if loaded.paths == old:
            loaded.move(new)


class LoadedExperiment:
    """Reads the journal once: now, or, if ``trials`` are given (a driver has them), on the first use of results."""

    def __init__(self, path: Path, trials: Sequence[Trial] | None = None) -> None:
        self.paths = ExperimentPaths(path)
        self._rows: dict[str, list[CountedRow]] | None = None
        if trials is None:
            self.spec, values = self._read()
        else:
            self.spec, values = spec_file.read(self.paths), [trial.value for trial in trials]
        self.trials = [Trial(value, self.paths, self.spec, partial(self._plain_rows, value)) for value in values]
        _loaded.add(self)

    def _read(self) -> tuple[ExperimentSpec, list[model.Trial]]:
        view = read_experiment(self.paths.root, with_rows=True)
        self._rows = {trial_id: [] for trial_id in view.state.trials}
        for row in view.rows:
            self._rows[row.trial_id].append(row)
        return view.state.spec, list(view.state.trials.values())

    def rows(self, trial_id: str) -> list[CountedRow]:
        """The counted results of one trial, in order."""
        if self._rows is None:
            self._rows = counted_rows(self.paths, [trial.trial_id for trial in self.trials])
        return self._rows.get(trial_id, [])

    def move(self, path: Path) -> None:
        """Go on with the experiment at its new ``path``."""
        self.paths = ExperimentPaths(path)
        for trial in self.trials:
            trial.move(self.paths)

    def _plain_rows(self, trial: model.Trial) -> list[Mapping[str, Any]]:
        return [counted.row for counted in self.rows(trial.trial_id)]


def experiment_root(path: str | Path) -> Path:
    """The experiment's directory; ``path`` may also name its ``experiment.json``, or be the URL of a mirror."""
    place = as_text(path)
    if is_elsewhere(place):
        place = urls.parent(place) if urls.last_name(place) == "experiment.json" else place
        try:
            return readable(place).root
        except NotAnExperimentError:
            return readable_all(place)
    root = Path(place.removeprefix("file://")).expanduser().absolute()
    return root.parent if root.name == "experiment.json" and root.is_file() else root


def experiment_roots(path: str | Path) -> list[Path]:
    """The directory of the experiment, or of all experiments in a directory that is none itself, or that of the
    experiment of this name under the storage path. Raises NotAnExperimentError for a name that is not there."""
    root, named = experiment_root(path), str(path)
    found = [root] if is_experiment(root) else spec_file.find_experiments(root)
    if found:
        return found
    by_name = stored(named)
    if by_name is None and "/" not in named:
        raise no_experiment(named, Path(named))
    return [by_name or root]


def reported_keys(trials: Collection[Trial]) -> list[str]:
    """Every key, flat, that the last result of any trial has; without the configuration."""
    keys: dict[str, None] = {}
    for trial in trials:
        keys |= dict.fromkeys(flatten({k: v for k, v in trial.value.last.items() if k not in NOT_SHOWN}))
    return list(keys)


def _as_html(trial: Trial) -> str:
    from hpctune.analysis import notebook

    return notebook.trial_html(trial.value, trial.rows(), trial.spec.metric, trial.value.last, trial.local_path)


Trial.as_html = staticmethod(_as_html)
