"""Experiments by their names under the storage path."""

from __future__ import annotations

from pathlib import Path

from hpctune.common import env
from hpctune.common.text import nearest, quoted
from hpctune.errors import NotAnExperimentError
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.spec_file import find_experiments


def storage_path() -> Path:
    """The default directory of experiments."""
    return env.settings().result_dir


def is_experiment(path: Path) -> bool:
    """Whether ``path`` is an experiment's directory."""
    return ExperimentPaths(path).spec.is_file()


def stored(named: str) -> Path | None:
    """The experiment of this name under the storage path; None if there is none. A folder beside the user that has the
    same name, and is no experiment, does not hide it."""
    path = storage_path() / named
    return path if not Path(named).is_absolute() and is_experiment(path) else None


def no_experiment(named: str, path: Path) -> NotAnExperimentError:
    """The error for words that refer to no experiment. ``path``: the place that they name here."""
    storage = storage_path().absolute()
    near = nearest(named, [str(root.absolute().relative_to(storage)) for root in find_experiments(storage)])
    if path.exists():
        what = f"{path} is not an experiment and contains none, and there is none of that name in {storage}"
    else:
        what = f"There is no experiment {named!r}, neither here nor in {storage}"
    return NotAnExperimentError(f"{what} (the storage path). {near}List experiments: hpctune list {quoted(storage)}")
