"""Where the user's project is for this trial."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hpctune.storage import bundle
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.worker import transferred


def place_in(trial: TrialPaths) -> Callable[[str], str]:
    """A function that gives a text with the paths of the project's files as they are here: those of the trial's copy of
    the project, if it has one."""
    project = bundle.project(ExperimentPaths(trial.root.parent)) if transferred.project_is_copied() else None
    if project is not None:
        return partial(project.moved, trial=trial)
    return lambda text: text
