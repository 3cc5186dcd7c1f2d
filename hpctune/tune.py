"""``run`` and ``run_experiments``, the functions that most scripts call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

import hpctune
from hpctune.analysis.experiment_analysis import ExperimentAnalysis
from hpctune.common.checks import DEFAULT_PORT, check_flag
from hpctune.errors import UsageError
from hpctune.launch import older as older_arguments
from hpctune.launch.definition import Experiment, convert_to_experiment_list
from hpctune.launch.options import RunOptions
from hpctune.launch.outcome import analysis_of, conclude
from hpctune.launch.run import run as launch
from hpctune.run_config import DEPRECATED, CheckpointConfig, FailureConfig, refuse_deprecated
from hpctune.trial import Trial
from hpctune.tune_config import ResumeConfig

if TYPE_CHECKING:
    from hpctune.cluster.options import LocalOptions, SlurmOptions
    from hpctune.cluster.ssh.options import SshOptions
    from hpctune.output.callback import Callback
    from hpctune.output.display.reporters import ProgressReporter
    from hpctune.ports import Cluster
    from hpctune.schedulers.base import SchedulerPolicy
    from hpctune.search import SearchAlgorithm, Searcher


def run(
    run_or_experiment: Any,
    name: str | None = None,
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] | None = None,
    stop: Any = None,
    time_budget_s: Any = None,
    config: Mapping[str, Any] | None = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    local_dir: str | os.PathLike[str] | None = None,
    search_alg: Searcher | SearchAlgorithm | str | None = None,
    scheduler: SchedulerPolicy | str | None = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    log_to_file: bool | str | tuple[str, str] | None = False,
    trial_name_creator: Callable[[Trial], str] | None = None,
    trial_dirname_creator: Callable[[Trial], str] | None = None,
    sync_config: Any = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: Any = None,
    server_port: int | None = None,
    resume: bool | str | None = None,
    reuse_actors: bool | None = False,
    trial_executor: Any = None,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Callback | str] | None = None,
    max_concurrent_trials: int | None = None,
    queue_trials: bool | None = None,
    loggers: Any = None,
    storage_path: str | os.PathLike[str] | None = None,
    storage_filesystem: Any = None,
    checkpoint_config: CheckpointConfig | Mapping[str, Any] | None = None,
    resume_config: ResumeConfig | None = None,
    checkpoint_keep_all_ranks: bool | str | None = DEPRECATED,
    checkpoint_upload_from_workers: bool | str | None = DEPRECATED,
    chdir_to_trial_dir: bool | str | None = DEPRECATED,
    upload_dir: str | None = None,
    local_mode: bool = False,
    cluster: str | SlurmOptions | LocalOptions | SshOptions | Cluster | None = None,
    slurm: SlurmOptions | Mapping[str, Any] | None = None,
    workers: int | str | None = None,
    failure_config: FailureConfig | None = None,
    share_with_group: bool = False,
    with_server: bool | None = None,
    budget: str | None = None,
    **older: Any,
) -> ExperimentAnalysis:
    """Run a search to its end and return its results.

    Args:
        run_or_experiment: A function, a class derived from Trainable, or a registered name. Or an Experiment, or a list
            of them, which have their own definitions; then only arguments about the whole run may be given.
        name: The experiment's directory name. Default: the trainable's name with date and time.
        metric, mode: The name of the reported value to optimize; "min" or "max". Several: lists of them; the best is a
            Pareto front then.
        stop: A dict of thresholds, a Stopper, a function (trial_id, result) -> bool, or a list of these.
        time_budget_s: Seconds (or a timedelta) of driven time, over all drivers, after which the experiment stops.
        budget: How many hours the jobs may hold: "200gpuh", "5000cpuh", "40nodeh" or "1000billing". No new trial starts
            that could pass it.
        config: The search space.
        resources_per_trial: A dict such as ``{"cpu": 2, "gpu": 1, "memory": BYTES}``, or a PlacementGroupFactory.
        num_samples: The number of samples of the space, or of repetitions of a grid (default 1); -1: no limit.
        storage_path, local_dir: The directory of all experiments. Default: TUNE_RESULT_DIR, else
            ``~/hpctune_results``.
        search_alg, scheduler: An object, or a name. Default: random and grid search; first come, first served.
        checkpoint_config: Which checkpoints are kept. ``keep_checkpoints_num``, ``checkpoint_score_attr`` ("min-loss":
            the smallest are kept), ``checkpoint_freq`` and ``checkpoint_at_end`` are older names of its fields.
        verbose: 0 (silent), 1 (the status in a few lines), 2 (with tables, the default), 3 (and every result).
        progress_reporter: A reporter that shows the progress instead of the default one.
        log_to_file: Names of the trials' output files: True, one name for both, or a pair.
        trial_name_creator, trial_dirname_creator: Functions from a Trial to its name; and to its directory's name.
        export_formats: The formats that class trainables export when they end.
        max_failures: How often a failed trial goes on from its last checkpoint (default 0); -1: no limit.
        fail_fast: True ends the experiment at the first failed trial; "raise" also raises its error.
        failure_config: Both of these options, and what to do if trials hang, run out of memory or time, or all fail
            with the same error.
        restore: The checkpoint directory from which every trial starts.
        resume: True or "LOCAL", "AUTO", "PROMPT", "ERRORED_ONLY"; see ``hpctune.launch.resume``. ``resume_config``
            chooses which trials go on.
        raise_on_failed_trial: Whether to raise TuneError if a trial failed.
        callbacks: Objects that are called in the driver at each event of a trial. The default loggers are added.
        max_concurrent_trials: How many trials may have a job at a time; None or 0: no limit.
        chdir_to_trial_dir: Trials run in their own directories. False: in the start directory of the driver.
        local_mode: The same as ``cluster="debug"``.
        cluster: "auto" (the default: Slurm if it is installed, else this machine), "slurm", "local", "debug" (in this
            process, for breakpoints), SlurmOptions, LocalOptions, SshOptions, or a Cluster.
        slurm: Options of the Slurm jobs.
        reuse_actors: Jobs stay and run one trial after another, as many as there is room for; see
            docs/how-to/workers.md.
        workers: The same, with a maximum number of jobs. None: the value of ``cluster``, ``slurm`` or
            ``reuse_actors``.
        share_with_group: The group of the experiment's directory may read it (not the pickled code).
        loggers: Classes derived from ``hpctune.logger.Logger``, an older form of ``callbacks``.
        server_port: The port on this machine at which a ``TuneClient`` can ask the driver; None: no server.
            ``with_server=True``: port 4321.

        older: Arguments of earlier versions: ``sync_to_cloud``, ``sync_to_driver`` and ``sync_on_checkpoint`` are
            fields of ``sync_config`` now; ``return_trials=True`` returns the list of trials; ``queue_trials``,
            ``global_checkpoint_period`` and ``ray_auto_init`` have no effect.

    The other arguments are Ray Tune's and not supported: any value but their default is an error.

    Returns:
        The ExperimentAnalysis.

    Raises:
        UsageError: (a ValueError) for an impossible argument; NotYetSupportedError is a kind of it.
        TuneError: ``TuneError("Trials did not complete", [...])``, or for an error of the whole experiment.
    """
    _refuse_executor(trial_executor)
    known = (*older_arguments.SYNC, *older_arguments.WITHOUT_EFFECT, "return_trials")
    older_arguments.check("run", older, known, signature(run).parameters)
    older_arguments.tell({"queue_trials": queue_trials, **older})
    refuse_deprecated("checkpoint_keep_all_ranks", checkpoint_keep_all_ranks)
    refuse_deprecated("checkpoint_upload_from_workers", checkpoint_upload_from_workers)
    if failure_config is not None and (max_failures or fail_fast):
        raise UsageError("With failure_config, set max_failures and fail_fast in it, not as arguments of run().")
    definition = _given(
        {
            "stop": stop,
            "time_budget_s": time_budget_s,
            "budget": budget,
            "config": config,
            "resources_per_trial": resources_per_trial,
            "num_samples": num_samples,
            "storage_path": storage_path,
            "local_dir": local_dir,
            "storage_filesystem": storage_filesystem,
            "sync_config": older_arguments.with_sync(sync_config, {"upload_dir": upload_dir, **older}),
            "checkpoint_config": checkpoint_config,
            "keep_checkpoints_num": keep_checkpoints_num,
            "checkpoint_score_attr": checkpoint_score_attr,
            "checkpoint_freq": checkpoint_freq,
            "checkpoint_at_end": checkpoint_at_end,
            "log_to_file": log_to_file,
            "trial_name_creator": trial_name_creator,
            "trial_dirname_creator": trial_dirname_creator,
            "export_formats": export_formats,
            "restore": restore,
            "loggers": loggers,
        }
    )
    options = RunOptions(
        metric=metric,
        mode=mode,
        search_alg=search_alg,
        scheduler=scheduler,
        max_concurrent=max_concurrent_trials,
        failure=failure_config or FailureConfig(max_failures, fail_fast),
        resume=resume,
        resume_config=resume_config,
        callbacks=callbacks,
        verbose=verbose,
        reporter=progress_reporter,
        reuse_actors=reuse_actors,
        workers=workers,
        cluster=_debug_or(cluster, local_mode),
        slurm=slurm,
        chdir_to_trial_dir=chdir_to_trial_dir,
        share_with_group=share_with_group,
        server_port=_port(server_port, with_server),
    )
    experiments = _experiments(run_or_experiment, name, definition, options.failure.max_failures)
    driven = launch(experiments, options)
    conclude(driven, raise_on_failed_trial)
    analysis = analysis_of(driven, metric, mode)
    return cast(ExperimentAnalysis, analysis.trials) if older.get("return_trials") else analysis


def run_experiments(
    experiments: Any,
    scheduler: SchedulerPolicy | str | None = None,
    server_port: int | None = None,
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    resume: bool | str | None = None,
    reuse_actors: bool | None = False,
    trial_executor: Any = None,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Callback | str] | None = None,
    resume_config: ResumeConfig | None = None,
    cluster: str | SlurmOptions | LocalOptions | SshOptions | Cluster | None = None,
    slurm: SlurmOptions | Mapping[str, Any] | None = None,
    with_server: bool | None = None,
    search_alg: Searcher | SearchAlgorithm | str | None = None,
    queue_trials: bool | None = None,
) -> list[Trial]:
    """Run one or several experiments and return their trials; each has its ``last_result``.

    Args:
        experiments: An Experiment, a dict of name -> definition (``{"run": ..., "stop": ..., "config": ...}``), or a
            list of these.
        concurrent: Whether the experiments run side by side (default). False: one after another.

    The other arguments and the errors are those of :func:`run`.
    """
    _refuse_executor(trial_executor)
    older_arguments.tell({"queue_trials": queue_trials})
    options = RunOptions(
        scheduler=scheduler,
        search_alg=search_alg,
        verbose=verbose,
        reporter=progress_reporter,
        resume=resume,
        resume_config=resume_config,
        reuse_actors=reuse_actors,
        callbacks=callbacks,
        cluster=cluster,
        slurm=slurm,
        server_port=_port(server_port, with_server),
    )
    wanted = convert_to_experiment_list(experiments)
    trials: list[Trial] = []
    for batch in [wanted] if concurrent else [[experiment] for experiment in wanted]:
        driven = launch(batch, options)
        conclude(driven, raise_on_failed_trial)
        trials += [trial for one in driven for trial in one.trials]
        if any(one.left for one in driven):
            break
    return trials


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The ``arguments`` of :func:`run` that are neither None nor their default."""
    defaults = {name: parameter.default for name, parameter in signature(run).parameters.items()}
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and not (type(value) is type(defaults[name]) and value == defaults[name])
    }


def _experiments(
    run_or_experiment: Any, name: str | None, definition: Mapping[str, Any], max_failures: int
) -> list[Experiment]:
    """The experiments to run: the given ones, or the one that the arguments of ``run`` define."""
    if not isinstance(run_or_experiment, (Experiment, list, tuple)):
        return [Experiment(name, run_or_experiment, **definition)]
    misplaced = [*(["name"] if name is not None else []), *definition, *(["max_failures"] if max_failures else [])]
    if misplaced:
        raise UsageError(f"An Experiment has its own {misplaced[0]}: give it to Experiment(...), not to run().")
    experiments = convert_to_experiment_list(run_or_experiment)
    if not experiments:
        raise UsageError("There is no experiment to run: the list is empty.")
    return experiments


def _debug_or(cluster: Any, local_mode: bool) -> Any:
    if local_mode and cluster not in (None, "debug"):
        raise UsageError("local_mode=True is the same as cluster='debug'. Remove local_mode= or cluster=.")
    return "debug" if local_mode else cluster


def _port(server_port: int | None, with_server: bool | None) -> int | None:
    if with_server is None:
        return server_port
    check_flag("with_server", with_server)
    return (server_port or DEFAULT_PORT) if with_server else None


def _refuse_executor(trial_executor: object) -> None:
    if trial_executor is not None:
        raise UsageError("There is no trial_executor. Choose the cluster with cluster='slurm', 'local' or 'debug'.")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The names of the package, for scripts that say ``from hpctune import tune``."""
        if name not in dir(hpctune) or name.startswith("__"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(hpctune, name)
