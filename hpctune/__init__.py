"""hpctune: hyperparameter tuning for Slurm clusters, with Ray Tune's API.

With ``import hpctune as tune``, a Ray Tune script runs on hpctune. Names are imported when they are first used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpctune.version import VERSION

if TYPE_CHECKING:
    from hpctune.analysis.experiment_analysis import ExperimentAnalysis as ExperimentAnalysis
    from hpctune.analysis.result import Result as Result
    from hpctune.analysis.result_grid import ResultGrid as ResultGrid
    from hpctune.checkpoint import Checkpoint as Checkpoint
    from hpctune.cluster.containers import (
        Apptainer as Apptainer,
        Enroot as Enroot,
        Podman as Podman,
        Pyxis as Pyxis,
    )
    from hpctune.cluster.options import (
        LocalOptions as LocalOptions,
        SlurmOptions as SlurmOptions,
    )
    from hpctune.cluster.ssh.options import SshOptions as SshOptions, Workstation as Workstation
    from hpctune.errors import TuneError as TuneError
    from hpctune.file_transfer.options import FileTransfer as FileTransfer
    from hpctune.launch.definition import Experiment as Experiment
    from hpctune.launch.trainables import (
        register_env as register_env,
        register_trainable as register_trainable,
    )
    from hpctune.model.resources import PlacementGroupFactory as PlacementGroupFactory
    from hpctune.output.callback import Callback as Callback
    from hpctune.output.display.reporters import (
        CLIReporter as CLIReporter,
        JupyterNotebookReporter as JupyterNotebookReporter,
        ProgressReporter as ProgressReporter,
    )
    from hpctune.run_config import (
        CheckpointConfig as CheckpointConfig,
        FailureConfig as FailureConfig,
        RunConfig as RunConfig,
    )
    from hpctune.schedulers.create import create_scheduler as create_scheduler
    from hpctune.search.create import create_searcher as create_searcher
    from hpctune.space.functions import (
        choice as choice,
        grid_search as grid_search,
        lograndint as lograndint,
        loguniform as loguniform,
        qlograndint as qlograndint,
        qloguniform as qloguniform,
        qrandint as qrandint,
        qrandn as qrandn,
        quniform as quniform,
        randint as randint,
        randn as randn,
        sample_from as sample_from,
        uniform as uniform,
    )
    from hpctune.stopper.stopper import Stopper as Stopper
    from hpctune.syncer import SyncConfig as SyncConfig
    from hpctune.trial import Trial as Trial
    from hpctune.tune import (
        run as run,
        run_experiments as run_experiments,
    )
    from hpctune.tune_config import (
        ResumeConfig as ResumeConfig,
        TuneConfig as TuneConfig,
    )
    from hpctune.tuner import Tuner as Tuner
    from hpctune.worker import (
        Command as Command,
        Trainable as Trainable,
        TuneContext as TuneContext,
        checkpoint_dir as checkpoint_dir,
        get_checkpoint as get_checkpoint,
        get_context as get_context,
        get_pinned_object as get_pinned_object,
        get_trial_dir as get_trial_dir,
        get_trial_id as get_trial_id,
        get_trial_name as get_trial_name,
        get_trial_resources as get_trial_resources,
        is_session_enabled as is_session_enabled,
        pin_in_object_store as pin_in_object_store,
        report as report,
        with_parameters as with_parameters,
        with_resources as with_resources,
    )

__version__ = VERSION

_HOMES: dict[str, tuple[str, ...]] = {
    "analysis.experiment_analysis": ("ExperimentAnalysis",),
    "analysis.result": ("Result",),
    "analysis.result_grid": ("ResultGrid",),
    "checkpoint": ("Checkpoint",),
    "cluster.containers": ("Apptainer", "Enroot", "Podman", "Pyxis"),
    "cluster.options": ("LocalOptions", "SlurmOptions"),
    "cluster.ssh.options": ("SshOptions", "Workstation"),
    "errors": ("TuneError",),
    "file_transfer.options": ("FileTransfer",),
    "launch.definition": ("Experiment",),
    "model.resources": ("PlacementGroupFactory",),
    "output.callback": ("Callback",),
    "output.display.reporters": ("CLIReporter", "JupyterNotebookReporter", "ProgressReporter"),
    "launch.trainables": ("register_env", "register_trainable"),
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


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]], modules: tuple[str, ...] = (), more: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package that imports its names when they are first used.

    ``homes``: the package's modules, and the names that each brings. ``modules``: modules of the package that are
    attributes from the start. ``more``: names that the package defines itself.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    public = sorted({*home_of, *more})

    def get(name: str) -> Any:
        if name in home_of:
            value = getattr(import_module(f"{package}.{home_of[name]}"), name)
            setattr(sys.modules[package], name, value)  # the next use finds it without this function
            return value
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public, *modules})

    return get, names, public


__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES, _MODULES, ("__version__",))
