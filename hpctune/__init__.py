"""hpctune: hyperparameter tuning for Slurm clusters, with Ray Tune's API.

``import hpctune as tune`` carries a Ray Tune script over. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hpctune.version import VERSION

if TYPE_CHECKING:
    from hpctune.analysis.experiment_analysis import ExperimentAnalysis
    from hpctune.analysis.result import Result
    from hpctune.analysis.result_grid import ResultGrid
    from hpctune.checkpoint import Checkpoint
    from hpctune.cluster.options import LocalOptions, SlurmOptions
    from hpctune.errors import TuneError
    from hpctune.experiment import Experiment
    from hpctune.model.resources import PlacementGroupFactory
    from hpctune.output.callback import Callback
    from hpctune.output.reporters import CLIReporter, JupyterNotebookReporter, ProgressReporter
    from hpctune.registry import register_env, register_trainable
    from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
    from hpctune.schedulers.create import create_scheduler
    from hpctune.search.create import create_searcher
    from hpctune.space.functions import (
        choice,
        grid_search,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from hpctune.stopper.stopper import Stopper
    from hpctune.syncer import SyncConfig
    from hpctune.trial import Trial
    from hpctune.tune import run, run_experiments
    from hpctune.tune_config import ResumeConfig, TuneConfig
    from hpctune.tuner import Tuner
    from hpctune.worker import (
        Command,
        Trainable,
        TuneContext,
        checkpoint_dir,
        get_checkpoint,
        get_context,
        get_pinned_object,
        get_trial_dir,
        get_trial_id,
        get_trial_name,
        get_trial_resources,
        is_session_enabled,
        pin_in_object_store,
        report,
        with_parameters,
        with_resources,
    )

__version__ = VERSION

_HOMES: dict[str, tuple[str, ...]] = {
    "analysis.experiment_analysis": ("ExperimentAnalysis",),
    "analysis.result": ("Result",),
    "analysis.result_grid": ("ResultGrid",),
    "checkpoint": ("Checkpoint",),
    "cluster.options": ("LocalOptions", "SlurmOptions"),
    "errors": ("TuneError",),
    "experiment": ("Experiment",),
    "model.resources": ("PlacementGroupFactory",),
    "output.callback": ("Callback",),
    "output.reporters": ("CLIReporter", "JupyterNotebookReporter", "ProgressReporter"),
    "registry": ("register_env", "register_trainable"),
    "run_config": ("CheckpointConfig", "FailureConfig", "RunConfig"),
    "schedulers.create": ("create_scheduler",),
    "search.create": ("create_searcher",),
    "space.functions": (
        "choice",
        "grid_search",
        "lograndint",
        "loguniform",
        "qlograndint",
        "qloguniform",
        "qrandint",
        "qrandn",
        "quniform",
        "randint",
        "randn",
        "sample_from",
        "uniform",
    ),
    "stopper.stopper": ("Stopper",),
    "syncer": ("SyncConfig",),
    "trial": ("Trial",),
    "tune": ("run", "run_experiments"),
    "tune_config": ("ResumeConfig", "TuneConfig"),
    "tuner": ("Tuner",),
    "worker": (
        "Command",
        "Trainable",
        "TuneContext",
        "checkpoint_dir",
        "get_checkpoint",
        "get_context",
        "get_pinned_object",
        "get_trial_dir",
        "get_trial_id",
        "get_trial_name",
        "get_trial_resources",
        "is_session_enabled",
        "pin_in_object_store",
        "report",
        "with_parameters",
        "with_resources",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (
    "analysis",
    "callback",
    "error",
    "experiment",
    "integration",
    "logger",
    "registry",
    "result",
    "schedulers",
    "search",
    "stopper",
    "syncer",
    "trainable",
    "utils",
)
"""Modules that are attributes from the start, as ``tune.schedulers.ASHAScheduler`` needs it."""

__all__ = [
    "CLIReporter",
    "Callback",
    "Checkpoint",
    "CheckpointConfig",
    "Command",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "LocalOptions",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "SlurmOptions",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "Trial",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "__version__",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "get_pinned_object",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "grid_search",
    "is_session_enabled",
    "lograndint",
    "loguniform",
    "pin_in_object_store",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
]


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        value: object = getattr(import_module(f"hpctune.{_HOME_OF[name]}"), name)
        globals()[name] = value  # the next time it is found at once
        return value
    if name in _MODULES:
        return import_module(f"hpctune.{name}")
    raise AttributeError(f"module 'hpctune' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
