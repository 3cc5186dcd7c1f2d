"""Views of an experiment directory: read-only, without a lock, at any time. Names are loaded when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpctune.analysis.experiment_analysis import ExperimentAnalysis
    from hpctune.analysis.listing import list_experiments, list_trials
    from hpctune.analysis.result import Result
    from hpctune.analysis.result_grid import ResultGrid

__all__ = ["ExperimentAnalysis", "Result", "ResultGrid", "list_experiments", "list_trials"]
_HOMES = {
    "ExperimentAnalysis": "experiment_analysis",
    "Result": "result",
    "ResultGrid": "result_grid",
    "list_experiments": "listing",
    "list_trials": "listing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
