"""Makes a :class:`PreparedExperiment` from definition, options, overrides and environment. Pure: changes nothing."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from hpctune import ray
from hpctune.cluster.choice import ClusterChoice, reopen_cluster, resolve_cluster
from hpctune.cluster.options import LocalOptions
from hpctune.common.checks import as_whole
from hpctune.common.env import CHDIR, EnvSettings
from hpctune.common.text import quoted
from hpctune.core.resume import ResumeChoice
from hpctune.driver.setup import DriverSetup, SearchBinding, ray_dirname, safe_name
from hpctune.errors import ResumeError, UsageError
from hpctune.launch.arguments import place
from hpctune.launch.definition import Experiment
from hpctune.launch.objectives import notes_on_scheduler, objectives_of, scheduler_for, search_objective
from hpctune.launch.options import DEFAULT_VERBOSE, RunOptions
from hpctune.launch.overrides import Overrides
from hpctune.launch.prepared import PreparedExperiment
from hpctune.launch.project import has_changed, project_for
from hpctune.launch.store import StoredExperiment
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.output.defaults import default_callbacks, imported_callback
from hpctune.run_config import FailureConfig
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.search import as_search_algorithm
from hpctune.space.replace import replace_values
from hpctune.storage.layout import ExperimentPaths


@dataclass(frozen=True, slots=True)
class Identity:
    """The values that make a new experiment unique. ``created_at``: Unix seconds."""

    experiment_id: str
    created_at: float
    seed: int


def new_identity() -> Identity:
    """An identity that no other experiment has."""
    return Identity(secrets.token_hex(6), time.time(), _new_seed())


def _new_seed() -> int:
    """A seed from numpy's global generator if numpy is loaded, else a random one.

    As in Ray Tune, a script that calls ``numpy.random.seed`` gets the same configurations each time.
    """
    numpy = sys.modules.get("numpy")
    return int(numpy.random.randint(2**31 - 1)) if numpy is not None else secrets.randbelow(2**31 - 1)


def resolve(
    experiment: Experiment,
    options: RunOptions,
    overrides: Overrides,
    env: EnvSettings,
    identity: Identity,
    stored: ExperimentSpec | None = None,
    resume: ResumeChoice | None = None,
) -> PreparedExperiment:
    """The experiment with all decisions made.

    ``stored``: the stored definition if the experiment is resumed; ``resume`` decides about its trials. Raises
    UsageError, SearchSpaceError or ResumeError for values that are impossible or contradict ``stored``.
    """
    space = replace_values(experiment.config, overrides.config)
    cluster = _cluster(options, overrides)
    _check_transfer(experiment.trainable, cluster)
    failure = _failure(experiment, options)
    _check_growth(failure, experiment.resources, cluster)
    scheduler = scheduler_for(options.scheduler, options.objectives)
    algorithm = as_search_algorithm(options.search_alg)
    setup = DriverSetup(
        bind_search=SearchBinding(algorithm, space, *search_objective(algorithm, options.objectives)),
        scheduler=scheduler,
        stopper=experiment.driver_stopper,
        callbacks=[
            *default_callbacks([*experiment.loggers, *(options.callbacks or ())], env.auto_loggers),
            *map(imported_callback, env.callbacks),
        ],
        resources=experiment.resources,
        trial_name_creator=experiment.trial_name_creator,
        trial_dirname_creator=experiment.trial_dirname_creator or (ray_dirname if ray.installed() else None),
        env={**env.for_workers, CHDIR: "0"} if options.chdir_to_trial_dir is False else env.for_workers,
        mirror=experiment.mirror_in(overrides.storage_path),
    )
    root, name = place(experiment.storage_in(overrides.storage_path, env.result_dir), overrides.name or experiment.name)
    if name is None and stored is not None:  # resumed without a name
        name = stored.name
    draft = _spec(experiment, options, objectives_of(options, scheduler), failure, cluster, env, identity)
    spec = _with_overrides(replace(draft, name=name or _automatic_name(draft, env)), overrides)
    _check_population(setup.scheduler, spec.num_samples)
    notes = _notes(spec, setup, root / spec.name) + notes_on_scheduler(scheduler, spec.objectives, algorithm)
    project, left_out = project_for(experiment.trainable, cluster)
    notes += left_out
    num_samples = None
    if stored is not None:
        notes += _differences(stored, spec, root / spec.name)
        num_samples = spec.num_samples
        spec = replace(spec, **{name: getattr(stored, name) for name in KEPT}, budget=spec.budget or stored.budget)
    return PreparedExperiment(
        paths=ExperimentPaths(root / spec.name),
        spec=spec,
        setup=setup,
        trainable=experiment.trainable,
        cluster=cluster,
        named=name is not None,
        verbose=_verbosity(options.verbose, overrides),
        reporter=options.reporter,
        max_pending=env.max_pending,
        handle_signals=env.signals,
        notes=notes,
        project=project,
        resume=None if stored is None else resume,
        num_samples=num_samples,
        replaces_stored=stored is not None,
    )


def resolve_stored(
    stored: StoredExperiment,
    overrides: Overrides,
    env: EnvSettings,
    resume: ResumeChoice | None = None,
    *,
    trainable: Any = None,
    param_space: Mapping[str, Any] | None = None,
    options: RunOptions | None = None,
) -> PreparedExperiment:
    """The same for an experiment that is resumed without its script: stored values hold unless others are given.

    ``trainable`` and ``param_space`` replace the stored ones. Of ``options``, only cluster, slurm, reporter and verbose
    are used.
    """
    options = options or RunOptions()
    if options.cluster is not None or options.slurm is not None:
        cluster = resolve_cluster(
            options.cluster,
            options.slurm,
            name=overrides.cluster,
            slurm_changes=overrides.slurm_options,
            hosts=overrides.hosts,
        )
    else:
        cluster = reopen_cluster(
            stored.spec.cluster,
            stored.spec.cluster_options,
            name=overrides.cluster,
            slurm_changes=overrides.slurm_options,
            workers=overrides.workers,
            hosts=overrides.hosts,
        )
    cluster = cluster.with_code(overrides.code, overrides.code_limit)
    trainable_now = stored.trainable if trainable is None else trainable
    _check_transfer(trainable_now, cluster)
    setup = stored.setup
    if param_space is not None or overrides.config:
        binding = setup.bind_search
        assert isinstance(binding, SearchBinding)
        space = replace_values(binding.space if param_space is None else param_space, overrides.config)
        setup = replace(setup, bind_search=replace(binding, space=space))
    limits = replace(_with_overrides(stored.spec, overrides), num_samples=stored.spec.num_samples)
    spec = replace(limits, cluster=cluster.name, cluster_options=cluster.to_json())
    _check_population(setup.scheduler, overrides.num_samples)
    project, notes = project_for(trainable_now, cluster, stored.paths)
    replaces_stored = spec != stored.spec or trainable is not None or setup is not stored.setup
    replaces_stored = replaces_stored or has_changed(trainable_now, project, stored.paths)
    return PreparedExperiment(
        paths=stored.paths,
        spec=spec,
        setup=setup,
        trainable=trainable_now,
        cluster=cluster,
        notes=notes,
        project=project,
        verbose=_verbosity(options.verbose, overrides),
        reporter=options.reporter,
        max_pending=env.max_pending,
        handle_signals=env.signals,
        resume=resume,
        num_samples=overrides.num_samples,
        replaces_stored=replaces_stored,
    )


KEPT = (
    "experiment_id",
    "name",
    "created_at",
    "trainable",
    "metric",
    "mode",
    "more_objectives",
    "seed",
    "restore",
    "stdout",
    "stderr",
    "share_with_group",
    "origin",
)
"""The fields of a definition that a resume cannot change."""
_TOLD_IF_DIFFERENT = ("trainable", "restore", "stdout", "stderr", "share_with_group")


def _differences(stored: ExperimentSpec, spec: ExperimentSpec, root: object) -> tuple[str, ...]:
    """A warning about changed fields that a resume cannot change. Raises ResumeError if metric or mode differ."""
    for name in ("metric", "mode"):
        before, after = getattr(stored, name), getattr(spec, name)
        if before and after and before != after:
            raise ResumeError(f"{root} was started with {name}={before!r}. It cannot be resumed with {after!r}.")
    if stored.more_objectives != spec.more_objectives and spec.metric is not None:
        before = ", ".join(metric for metric, _ in stored.objectives)
        raise ResumeError(f"{root} was started with metric={before!r}. It cannot be resumed with other metrics.")
    differing = [name for name in _TOLD_IF_DIFFERENT if getattr(spec, name) != getattr(stored, name)]
    if not differing:
        return ()
    words = ", ".join(f"{name} ({getattr(stored, name)!r})" for name in differing)
    return (f"A resume cannot change these options of {root}. It keeps the values of its start: {words}.",)


def _notes(spec: ExperimentSpec, setup: DriverSetup, root: object) -> tuple[str, ...]:
    if spec.num_samples == -1 and spec.time_budget_s is None and spec.budget is None and setup.stopper is None:
        endless = "This search has no budget, no time_budget_s and no Stopper. It runs until you stop it:"
        return (f"{endless} hpctune stop {quoted(root)}",)
    return ()


def _cluster(options: RunOptions, overrides: Overrides) -> ClusterChoice:
    named = options.cluster is not None or options.slurm is not None or bool(overrides.slurm_options)
    choice = resolve_cluster(
        options.cluster if named else overrides.preferred_cluster,
        options.slurm,
        name=overrides.cluster,
        slurm_changes=overrides.slurm_options,
        hosts=overrides.hosts,
    )
    if choice.name == "local" and overrides.machine and not isinstance(options.cluster, LocalOptions):
        choice = replace(choice, options=LocalOptions.from_mapping(overrides.machine))
    return choice.with_workers(_workers(options, overrides)).with_code(overrides.code, overrides.code_limit)


def _check_transfer(trainable: Any, cluster: ClusterChoice) -> None:
    """Raise UsageError if the trainable reads what is not copied to jobs, and jobs have only copies."""
    why = getattr(trainable, "no_transfer", None)
    if cluster.jobs_have_copies and isinstance(why, str):
        raise UsageError(why)


def _workers(options: RunOptions, overrides: Overrides) -> int | str | None:
    """The number of long-lived workers; None: that of the cluster's options."""
    if overrides.workers is not None:
        return overrides.workers
    if options.workers is not None:
        return options.workers if options.workers == "auto" else as_whole("workers", options.workers)
    given = options.cluster if options.slurm is None else options.slurm
    own = given.get("workers") if isinstance(given, Mapping) else getattr(given, "workers", None)
    return "auto" if options.reuse_actors and own is None else None


def _failure(experiment: Experiment, options: RunOptions) -> FailureConfig:
    """The failure options of the run, with the experiment's ``max_failures`` if set. Raises UsageError on conflict."""
    if not experiment.max_failures:
        return options.failure
    return replace(options.failure, max_failures=experiment.max_failures)


def _check_growth(failure: FailureConfig, requests: Any, cluster: ClusterChoice) -> None:
    """Raise UsageError if memory or time must grow but the request states no amount."""
    if failure.grow_memory and not callable(requests) and Resources.parse(requests).memory_bytes is None:
        raise UsageError("grow_memory needs trials that state their memory: resources_per_trial={'memory': 4 * 2**30}.")
    if failure.grow_time and cluster.name == "slurm" and cluster.to_json().get("time") is None:
        raise UsageError("grow_time needs a time limit that can grow. Set SlurmOptions(time=...) or --time.")


def _check_population(scheduler: SchedulerPolicy, num_samples: int | None) -> None:
    """Raise UsageError if the scheduler waits for all trials and the number of trials has no limit."""
    if num_samples == -1 and getattr(scheduler, "synch", False):
        raise UsageError(
            f"{type(scheduler).__name__}(synch=True) decides when every trial has reached the end of an interval, but "
            "num_samples=-1 adds trials without limit. Give their number, or synch=False."
        )


def _verbosity(given: object, overrides: Overrides) -> int:
    """0 to 3. Raises UsageError for anything else."""
    value = overrides.verbose if overrides.verbose is not None else given
    number = (
        DEFAULT_VERBOSE
        if value is None
        else as_whole("verbose", int(value) if isinstance(value, bool) else getattr(value, "value", value))
    )
    if not 0 <= number <= 3:
        raise UsageError(f"verbose must be 0, 1, 2 or 3, not {number}.")
    return number


def _automatic_name(spec: ExperimentSpec, env: EnvSettings) -> str:
    """``<trainable>_<date>_<time>``, or only the trainable's name if TUNE_DISABLE_DATED_SUBDIR is set."""
    name = safe_name(spec.trainable)
    return f"{name}_{datetime.fromtimestamp(spec.created_at):%Y-%m-%d_%H-%M-%S}" if env.dated_names else name


def _spec(
    experiment: Experiment,
    options: RunOptions,
    objectives: Sequence[tuple[str | None, str | None]],
    failure: FailureConfig,
    cluster: ClusterChoice,
    env: EnvSettings,
    identity: Identity,
) -> ExperimentSpec:
    """The definition as data, under the trainable's name."""
    limit = options.max_concurrent
    (metric, mode), *more = objectives
    spec = ExperimentSpec(
        experiment_id=identity.experiment_id,
        name=safe_name(experiment.trainable_name),
        created_at=identity.created_at,
        trainable=experiment.trainable_name,
        metric=metric if env.strict_metric else None,
        mode=mode,
        more_objectives=tuple((str(each), str(how)) for each, how in more) if env.strict_metric else (),
        num_samples=experiment.num_samples,
        seed=identity.seed,
        criteria=experiment.criteria,
        time_budget_s=experiment.time_budget_s,
        budget=experiment.budget,
        max_concurrent=None if limit is None else as_whole("max_concurrent_trials", limit),
        max_failures=failure.max_failures,
        fail_fast="raise" if isinstance(failure.fail_fast, str) else "stop" if failure.fail_fast else "",
        failure_policy=failure.policy(),
        decision_timeout_s=failure.decision_timeout_s,
        undecided=failure.undecided,
        checkpoint=experiment.checkpoint_config.policy(),
        export_formats=experiment.export_formats,
        restore=experiment.restore,
        stdout=experiment.log_files[0],
        stderr=experiment.log_files[1],
        share_with_group=options.share_with_group,
        server_port=options.server_port,
        cluster=cluster.name,
        cluster_options=cluster.to_json(),
    )
    return spec if env.stop_grace_s is None else replace(spec, stop_grace_s=env.stop_grace_s)


def _with_overrides(spec: ExperimentSpec, overrides: Overrides) -> ExperimentSpec:
    """The definition with the limits of the command line."""
    wanted: dict[str, Any] = {
        "num_samples": overrides.num_samples,
        "max_concurrent": overrides.max_concurrent,
        "time_budget_s": overrides.time_budget_s,
        "budget": overrides.budget,
        "share_with_group": overrides.share_with_group or None,
    }
    limits = {"max_total": overrides.max_checkpoints, "max_total_bytes": overrides.max_checkpoint_bytes}
    checkpoint = replace(spec.checkpoint, **_given(limits))
    return replace(spec, checkpoint=checkpoint, **_given(wanted))


def _given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}
