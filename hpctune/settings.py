"""What ``run`` and ``TuneConfig`` say beyond the experiments themselves, and the launch that follows from both."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hpctune import envvars
from hpctune.arguments import whole
from hpctune.driver.setup import DriverSetup
from hpctune.errors import UsageError
from hpctune.experiment import Experiment
from hpctune.launch import DEFAULT_VERBOSE, Launch, automatic_name, new_experiment_id
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.output.callback import Callback
from hpctune.output.defaults import default_callbacks
from hpctune.output.reporters import ProgressReporter
from hpctune.overrides import Overrides, replace_values
from hpctune.run_config import DEPRECATED, FailureConfig, check_failures
from hpctune.schedulers.create import as_scheduler
from hpctune.search import SearchAlgorithm, SearchPolicy, as_search_algorithm
from hpctune.tune_config import ResumeConfig
from hpctune.where import ClusterChoice, choose, with_workers


@dataclass(slots=True, kw_only=True)
class Settings:
    """What ``run`` and ``TuneConfig`` say beyond the experiments themselves; checked by :func:`checked`."""

    metric: Any = None
    mode: Any = None
    search_alg: Any = None
    scheduler: Any = None
    max_concurrent: Any = None
    fail_fast: Any = False
    failure_config: FailureConfig = field(default_factory=FailureConfig)
    resume: Any = None
    resume_config: ResumeConfig | None = None
    callbacks: Any = None
    verbose: Any = None
    reporter: Any = None
    raise_on_failed_trial: bool = True
    reuse_actors: Any = False
    workers: Any = None
    cluster: Any = None
    slurm: Any = None
    chdir_to_trial_dir: Any = DEPRECATED
    share_with_group: Any = False


@dataclass(frozen=True, slots=True)
class SearchBinding:
    """Binds the user's search algorithm to the search space, as DriverSetup wants it."""

    algorithm: SearchAlgorithm
    space: Mapping[str, Any]
    metric: str | None = None
    mode: str | None = None

    def __call__(self, num_samples: int, seed: int) -> SearchPolicy:
        return self.algorithm.bind(self.space, num_samples, seed, metric=self.metric, mode=self.mode)


def checked(settings: Settings) -> None:
    """Raise UsageError for what is wrong with the settings by themselves."""
    if settings.mode not in (None, "min", "max"):
        raise UsageError(f"mode must be 'min' or 'max', not {settings.mode!r}.")
    if settings.metric is not None and not isinstance(settings.metric, str):
        raise UsageError(f"metric must be the name of a reported value, not {settings.metric!r}.")
    if settings.share_with_group not in (True, False):
        raise UsageError(f"share_with_group must be True or False, not {settings.share_with_group!r}.")
    if settings.reuse_actors not in (True, False, None):
        raise UsageError(f"reuse_actors must be True or False, not {settings.reuse_actors!r}.")
    if not isinstance(settings.callbacks, (list, tuple, type(None))):
        raise UsageError(f"callbacks must be a list, not {settings.callbacks!r}.")
    for callback in settings.callbacks or ():
        if not isinstance(callback, Callback):
            raise UsageError(f"callbacks takes instances of hpctune.Callback, not {callback!r}.")
    if settings.reporter is not None and not isinstance(settings.reporter, ProgressReporter):
        raise UsageError(f"progress_reporter must be an instance of a ProgressReporter, not {settings.reporter!r}.")


def verbosity(given: object, overrides: Overrides) -> int:
    """0 to 3. Raises UsageError for anything else."""
    value = overrides.verbose if overrides.verbose is not None else given
    number = DEFAULT_VERBOSE if value is None else whole("verbose", getattr(value, "value", value))
    if not 0 <= number <= 3:
        raise UsageError(f"verbose must be 0, 1, 2 or 3, not {number}.")
    return number


def launch_of(experiment: Experiment, settings: Settings, overrides: Overrides) -> Launch:
    """The launch of one experiment; nothing is made yet."""
    checked(settings)
    check_failures(experiment.max_failures, settings.fail_fast)
    env = envvars.settings()
    space = replace_values(experiment.config, overrides.config)
    cluster = with_workers(choose(settings.cluster, settings.slurm, overrides), _workers(settings, overrides))
    binding = SearchBinding(as_search_algorithm(settings.search_alg), space, settings.metric, settings.mode)
    _check_growth(settings.failure_config, experiment, cluster)
    setup = DriverSetup(
        bind_search=binding,
        scheduler=as_scheduler(settings.scheduler, settings.metric, settings.mode),
        stopper=experiment.driver_stopper,
        callbacks=default_callbacks(settings.callbacks),
        resources=experiment.resources,
        trial_name_creator=experiment.trial_name_creator,
        trial_dirname_creator=experiment.trial_dirname_creator,
        env=_worker_env(settings.chdir_to_trial_dir),
    )
    return Launch(
        spec=overridden(_spec(experiment, settings, overrides.name, env, cluster), overrides),
        setup=setup,
        trainable=experiment.trainable,
        cluster=cluster,
        named=(overrides.name or experiment.name) is not None,
        verbose=verbosity(settings.verbose, overrides),
        reporter=settings.reporter,
        max_pending=env.max_pending,
    )


def _check_growth(failure: FailureConfig, experiment: Experiment, cluster: ClusterChoice) -> None:
    """Raise UsageError where a request is to grow that states nothing."""
    requests = experiment.resources
    if failure.grow_memory and not callable(requests) and Resources.parse(requests).memory_bytes is None:
        raise UsageError("grow_memory needs trials that state their memory: resources_per_trial={'memory': 4 * 2**30}.")
    options = cluster.to_json()
    if failure.grow_time and cluster.name == "slurm" and options.get("time") is None:
        raise UsageError("grow_time needs a time limit that can grow: SlurmOptions(time=...) or --time.")


def _workers(settings: Settings, overrides: Overrides) -> int | str | None:
    """How many workers are to stay; None: as the cluster's options say."""
    if overrides.workers is not None:
        return overrides.workers
    if settings.workers is not None:
        return settings.workers if settings.workers == "auto" else whole("workers", settings.workers)
    given = settings.cluster if settings.slurm is None else settings.slurm
    said = given.get("workers") if isinstance(given, Mapping) else getattr(given, "workers", None)
    return "auto" if settings.reuse_actors and said is None else None


def _worker_env(chdir: object) -> dict[str, str]:
    """``chdir_to_trial_dir`` False keeps trials in the directory where the experiment was started."""
    env = envvars.for_workers()
    if chdir not in (DEPRECATED, None, True, False):
        raise UsageError(f"chdir_to_trial_dir must be True or False, not {chdir!r}.")
    return {**env, envvars.CHDIR: "0"} if chdir is False else env


def _spec(
    experiment: Experiment, settings: Settings, name: str | None, env: envvars.Settings, cluster: ClusterChoice
) -> ExperimentSpec:
    at = time.time()
    limit = settings.max_concurrent
    spec = ExperimentSpec(
        experiment_id=new_experiment_id(),
        name=name or experiment.name or automatic_name(experiment.trainable_name, at),
        created_at=at,
        trainable=experiment.trainable_name,
        metric=settings.metric if env.strict_metric else None,
        mode=settings.mode,
        num_samples=experiment.num_samples,
        seed=new_seed(),
        criteria=experiment.criteria,
        time_budget_s=experiment.time_budget_s,
        max_concurrent=None if limit is None else whole("max_concurrent_trials", limit),
        max_failures=experiment.max_failures,
        fail_fast="raise" if isinstance(settings.fail_fast, str) else "stop" if settings.fail_fast else "",
        care=settings.failure_config.care(),
        decision_timeout_s=settings.failure_config.decision_timeout_s,
        checkpoint=experiment.checkpoint_config.policy(),
        export_formats=experiment.export_formats,
        restore=experiment.restore,
        stdout=experiment.log_files[0],
        stderr=experiment.log_files[1],
        share_with_group=bool(settings.share_with_group),
        cluster=cluster.name,
        cluster_options=cluster.to_json(),
    )
    if env.stop_grace_s is not None:
        spec = replace(spec, stop_grace_s=env.stop_grace_s)
    return spec


def overridden(spec: ExperimentSpec, overrides: Overrides) -> ExperimentSpec:
    """The definition with the command line's limits in it."""
    wanted = {
        "num_samples": overrides.num_samples,
        "max_concurrent": overrides.max_concurrent,
        "time_budget_s": overrides.time_budget_s,
        "share_with_group": overrides.share_with_group or None,
    }
    return replace(spec, **{name: value for name, value in wanted.items() if value is not None})  # type: ignore[arg-type]


def new_seed() -> int:
    """A seed for an experiment: from numpy's global random numbers, as in Ray Tune, so that a script that calls
    ``numpy.random.seed`` gets the same configurations each time; else a random one."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        return int(numpy.random.randint(2**31 - 1))
    import secrets

    return secrets.randbelow(2**31 - 1)
