"""Hydra's sweeper ``hpctune``: ``python app.py -m hydra/sweeper=hpctune lr=0.1,0.2``. Hydra finds it by its name.

The work is in ``hpctune.interop.hydra_sweep``: Hydra imports this module at each start, so it is small. It
executes the module without a name in ``sys.modules``, so annotations must not be postponed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.plugin import Plugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class HpctuneSweeperConf:
    """``hydra.sweeper``. What is here for Optuna's sweeper as well has its name and meaning."""

    _target_: str = "hydra_plugins.hpctune_sweeper.HpctuneSweeper"
    _recursive_: bool = False
    defaults: Any = field(default_factory=lambda: [{"sampler": None}, "_self_"])
    """So that a config may say ``override hydra/sweeper/sampler: tpe``, as for Optuna's sweeper."""
    params: Any = None
    """The search space: overrides by their keys."""
    direction: Any = None
    """minimize (the default) or maximize: what the task function returns, or reports as ``metric``."""
    n_trials: Any = None
    """How many trials a search has; a grid is tried as a whole."""
    n_jobs: Any = None
    """How many trials may have a job at a time."""
    max_failure_rate: Any = None
    """The share of failed trials above which the sweep ends with an error; without it, only if all fail."""
    sampler: Any = None
    """The searcher: tpe, gp, random, grid, ...; or the configuration of a sampler of Optuna."""
    metric: Any = None
    """The name of the value that the task function reports by ``hpctune.report``; without it, what it returns."""
    scheduler: Any = None
    """asha, median, ..., or {name: asha, max_t: 20}: stops bad trials early."""
    seed: Any = None
    resume: bool = False
    """Go on with the sweep that is in hydra.sweep.dir."""
    cluster: Any = None
    """slurm, local, debug, or as the launcher says."""
    slurm: Any = None
    """Options of the Slurm jobs, beside those of the launcher."""
    workers: Any = None
    """Worker jobs that stay and run many trials."""
    max_failures: int = 0
    """How often a failed trial is tried again."""
    study_name: Any = None
    storage: Any = None
    search_space: Any = None
    custom_search_space: Any = None


ConfigStore.instance().store(group="hydra/sweeper", name="hpctune", node=HpctuneSweeperConf, provider="hpctune")


class HpctuneSweeper(Sweeper):
    """Runs each configuration as a trial of hpctune."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.task_function: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra gives."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Run the trials; returns their results."""
        from hpctune.interop.hydra_sweep import sweep

        assert self.config is not None
        assert self.hydra_context is not None
        return sweep(self, arguments)


OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper"
SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher"
SAMPLERS = {
    "tpe": "TPESampler", "random": "RandomSampler", "grid": "GridSampler", "gp": "GPSampler", "cmaes": "CmaEsSampler",
    "nsgaii": "NSGAIISampler", "motpe": "MOTPESampler", "qmc": "QMCSampler",
}  # fmt: skip
"""The samplers of Optuna's sweeper, by the names that configs have for them."""
ANY_JOB: dict[str, Any] = {
    "submitit_folder": "${hydra.sweep.dir}/.submitit/%j", "timeout_min": 60, "cpus_per_task": None,
    "gpus_per_node": None, "tasks_per_node": 1, "mem_gb": None, "nodes": 1, "name": "${hydra.job.name}",
    "stderr_to_stdout": False,
}  # fmt: skip
SLURM_JOB: dict[str, Any] = {
    **dict.fromkeys((
        "partition", "qos", "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu",
        "mem_per_cpu", "account", "setup",
    )),
    "signal_delay_s": 120, "max_num_timeout": 0, "additional_parameters": {}, "array_parallelism": 256,
}  # fmt: skip
JOBLIBS = (
    "verbose", "timeout", "pre_dispatch", "batch_size", "temp_folder", "max_nbytes", "mmap_mode", "backend", "prefer",
    "require",
)  # fmt: skip


class OptunaSweeper(HpctuneSweeper):
    """Takes the place of Optuna's sweeper where that is not installed, so that configs for it run as they are."""


class AbsentLauncher(Launcher):
    """Takes the place of a launcher that is not installed: its fields hold, and other sweepers cannot call it."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Raise ModuleNotFoundError, which says what helps."""
        package = type(self).__module__.split(".")[1].replace("_", "-")
        raise ModuleNotFoundError(
            f"The launcher of this config needs the package {package}, which is not installed: pip install {package}. "
            f"Or let hpctune run the jobs, with the same options: hydra/sweeper=hpctune"
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Not reached."""
        raise NotImplementedError


class SlurmLauncher(AbsentLauncher):
    """Of submitit."""


class LocalLauncher(AbsentLauncher):
    """Of submitit."""


class JoblibLauncher(AbsentLauncher):
    """Of joblib."""


LAUNCHERS: dict[str, tuple[str, type[AbsentLauncher], dict[str, Any]]] = {
    "submitit_slurm": (SUBMITIT, SlurmLauncher, {**ANY_JOB, **SLURM_JOB}),
    "submitit_local": (SUBMITIT, LocalLauncher, ANY_JOB),
    "joblib": (JOBLIB, JoblibLauncher, {**dict.fromkeys(JOBLIBS), "n_jobs": -1}),
}
"""Launchers by the names that configs have for them: their module, class and fields."""


def _is_missing(module: str) -> bool:
    package = module.rpartition(".")[0]
    spec = find_spec(package)
    return spec is None or spec.origin is None  # None: it is from here


def _stand_in(module: str, plugin: type[Plugin]) -> str:
    """Make ``module``, whose package is not installed, with this class: configs have it by its name, which this
    returns."""
    package = module.rpartition(".")[0]
    for path in (package, module):
        if path not in sys.modules:
            sys.modules[path] = module_from_spec(ModuleSpec(path, None, is_package=path == package))
    plugin.__module__ = module
    vars(sys.modules[module])[plugin.__name__] = plugin
    return f"{module}.{plugin.__name__}"


store = ConfigStore.instance().store
if _is_missing(OPTUNA):
    _stand_in(OPTUNA, OptunaSweeper)
    store(group="hydra/sweeper", name="optuna", node=HpctuneSweeperConf, provider="hpctune")
    for name, title in SAMPLERS.items():
        node = {"_target_": f"optuna.samplers.{title}", "seed": None}
        store(group="hydra/sweeper/sampler", name=name, node=node, provider="hpctune")
for name, (module, launcher, fields) in LAUNCHERS.items():
    if _is_missing(module):
        node = {"_target_": _stand_in(module, launcher), **fields}
        store(group="hydra/launcher", name=name, node=node, provider="hpctune")
