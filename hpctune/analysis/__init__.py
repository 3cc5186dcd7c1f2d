"""Read-only views of an experiment directory, without a lock, at any time. Imports are lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.analysis.experiment_analysis import ExperimentAnalysis as ExperimentAnalysis
    from hpctune.analysis.listing import (
        list_experiments as list_experiments,
        list_trials as list_trials,
    )
    from hpctune.analysis.result import Result as Result
    from hpctune.analysis.result_grid import ResultGrid as ResultGrid

_HOMES = {
    "experiment_analysis": ("ExperimentAnalysis",),
    "listing": ("list_experiments", "list_trials"),
    "result": ("Result",),
    "result_grid": ("ResultGrid",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
