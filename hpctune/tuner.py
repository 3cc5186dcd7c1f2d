"""``Tuner``: runs a search, as an alternative to ``hpctune.run``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hpctune.analysis.experiment_analysis import ExperimentAnalysis
from hpctune.analysis.result_grid import ResultGrid
from hpctune.common import env
from hpctune.core.resume import ResumeChoice
from hpctune.errors import UsageError, as_instance_of
from hpctune.launch.arguments import search_space
from hpctune.launch.definition import Experiment
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.options import RunOptions
from hpctune.launch.outcome import conclude
from hpctune.launch.remote import bring_here, has_mirror, is_copy
from hpctune.launch.run import resume_directory, run as launch
from hpctune.launch.store import exists
from hpctune.launch.trainables import as_trainable, trainable_name
from hpctune.mirror.options import as_text
from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.unpicklable import find_unpicklable, picklable
from hpctune.trial import Trial
from hpctune.tune_config import ResumeConfig, TuneConfig
from hpctune.worker import Command, is_class_trainable
from hpctune.worker.parameters import BoundTrainable

if TYPE_CHECKING:
    from hpctune.cluster.options import LocalOptions, SlurmOptions
    from hpctune.cluster.ssh.options import SshOptions
    from hpctune.ports import Cluster


@dataclass(frozen=True, slots=True)
class _Restored:
    """An experiment that :meth:`Tuner.fit` resumes."""

    paths: ExperimentPaths
    choice: ResumeChoice
    filesystem: Any = None


@runtime_checkable
class Trainer(Protocol):
    """What ``hpctune.train`` makes: a trainable with options of its own."""

    run_config: RunConfig | None

    def as_trainable(self) -> Any:
        """The trainable."""

    def as_param_space(self, param_space: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The search space, checked."""


class Tuner:
    """A search, ready to run.

    Args:
        trainable: A function, a class derived from Trainable, a trainer of ``hpctune.train``, or a registered name.
        param_space: The search space.
        tune_config: Options of the search.
        run_config: Options of the run: directory, checkpoints, failures, stop conditions, output.
        cluster: "auto" (the default: Slurm if it is installed, else this machine), "slurm", "local", "debug" (in this
            process, for breakpoints), SlurmOptions, LocalOptions, SshOptions, or a Cluster.
        slurm: Options of the Slurm jobs.

    Raises:
        UsageError: for arguments of the wrong type. :meth:`fit` checks their values.
        TypeError: for a trainable that cannot be pickled.
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
        cluster: str | SlurmOptions | LocalOptions | SshOptions | Cluster | None = None,
        slurm: SlurmOptions | Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(trainable, Trainer):
            run_config = trainable.run_config if run_config is None else run_config
            param_space = trainable.as_param_space(param_space)
            trainable = trainable.as_trainable()
        if trainable is None:
            raise UsageError(
                "Tuner needs a trainable: a function, a class derived from Trainable, or a registered name."
            )
        if not isinstance(trainable, (str, BoundTrainable)) and not picklable(trainable):
            what = find_unpicklable(trainable) or repr(trainable)
            raise as_instance_of(
                f"The trainable cannot be pickled, so it cannot be sent to the jobs, because of {what}. Make that "
                "inside the function.",
                TypeError,
            )
        if tune_config is not None and not isinstance(tune_config, TuneConfig):
            raise UsageError(f"tune_config must be a TuneConfig, not {tune_config!r}.")
        if run_config is not None and not isinstance(run_config, RunConfig):
            raise UsageError(f"run_config must be a RunConfig, not {run_config!r}.")
        self._trainable = trainable
        self._param_space = None if param_space is None else search_space(param_space, "param_space")
        self._tune, self._run = tune_config or TuneConfig(), run_config or RunConfig()
        self._cluster, self._slurm = cluster, slurm
        self._restored: _Restored | None = None
        self._results: ResultGrid | None = None

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: Mapping[str, Any] | None = None,
        storage_filesystem: Any = None,
        _resume_config: ResumeConfig | None = None,
        *,
        cluster: str | SlurmOptions | LocalOptions | SshOptions | Cluster | None = None,
        slurm: SlurmOptions | Mapping[str, Any] | None = None,
    ) -> Tuner:
        """A Tuner that resumes an experiment when :meth:`fit` is called.

        Args:
            path: The experiment's directory. Or the URL of its mirror (or its path on ``storage_filesystem``): unless
                the experiment is in the default directory already, all of it is brought there.
            trainable: The trainable of the experiment, possibly corrected.
            resume_unfinished: Whether unfinished trials go on (default). False: they are stopped.
            resume_errored: Whether failed trials go on from their checkpoints.
            restart_errored: Whether failed trials start from scratch.
            param_space: The search space from now on: random and grid search try what of it was not tried yet.
                Default: unchanged.
            cluster, slurm: The cluster for the resumed run. Default: unchanged.

        Raises:
            NotAnExperimentError: if there is no experiment in ``path``.
            UsageError: if the trainable has another name, or if both flags for failed trials are set.
        """
        if resume_errored and restart_errored:
            raise UsageError("resume_errored and restart_errored exclude each other. Remove one of them.")
        paths = _brought_here(path, storage_filesystem)
        named = trainable.as_trainable() if isinstance(trainable, Trainer) else trainable
        before, after = spec_file.read(paths).trainable, trainable_name(named)
        if before != after and not isinstance(trainable, Command):  # its name is no more than a label
            raise UsageError(f"{paths.root} was started with the trainable {before!r}, not {after!r}.")
        tuner = cls(trainable, param_space=param_space, cluster=cluster, slurm=slurm)
        errored = "resume" if resume_errored else "restart" if restart_errored else "skip"
        choice = ResumeChoice("skip", "resume" if resume_unfinished else "skip", errored)
        if _resume_config is not None:
            config = _resume_config
            choice = ResumeChoice(config.finished.value, config.unfinished.value, config.errored.value)
        tuner._restored = _Restored(paths, choice, storage_filesystem)
        return tuner

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Whether ``path`` contains an experiment."""
        if storage_filesystem is not None or is_copy(path):
            return has_mirror(as_text(path), storage_filesystem)
        return exists(ExperimentPaths(Path(as_text(path).removeprefix("file://")).expanduser().absolute()))

    def fit(self) -> ResultGrid:
        """Run the search to its end and return its results. Failed trials are included and do not raise an exception.

        Raises:
            UsageError: (a ValueError) for an impossible argument; NotYetSupportedError is a kind of it.
            TuneError: for an error of the whole experiment, and with ``FailureConfig(fail_fast="raise")``.
        """
        driven = self._start_anew() if self._restored is None else self._go_on(self._restored)
        conclude([driven], raise_on_failed_trial=False)
        self._results = _grid(driven.paths, self._tune, driven.trials)
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of :meth:`fit`; for a restored Tuner also before it. Raises RuntimeError if there are none."""
        if self._results is not None:
            return self._results
        if self._restored is None:
            raise RuntimeError("There are no results yet: call Tuner.fit() first.")
        return _grid(self._restored.paths, self._tune)

    def _start_anew(self) -> DrivenExperiment:
        return launch([self.experiment()], self.options())[0]

    def _go_on(self, restored: _Restored) -> DrivenExperiment:
        return resume_directory(
            restored.paths,
            restored.choice,
            trainable=as_trainable(self._trainable),
            param_space=self._param_space,
            options=RunOptions(cluster=self._cluster, slurm=self._slurm),
            filesystem=restored.filesystem,
        )

    def experiment(self) -> Experiment:
        """The search as an Experiment. Raises UsageError for impossible values."""
        tune, run = self._tune, self._run
        return Experiment(
            run.name,
            self._trainable,
            stop=run.stop,
            time_budget_s=tune.time_budget_s,
            budget=tune.budget,
            config=self._param_space,
            num_samples=tune.num_samples,
            storage_path=run.storage_path,
            local_dir=run.local_dir,
            storage_filesystem=run.storage_filesystem,
            sync_config=run.sync_config,
            checkpoint_config=self._checkpoint_config(),
            trial_name_creator=tune.trial_name_creator,
            trial_dirname_creator=tune.trial_dirname_creator,
            log_to_file=run.log_to_file,
        )

    def _checkpoint_config(self) -> CheckpointConfig:
        """The run's. If it does not say otherwise, a class trainable saves a checkpoint when it ends."""
        config = CheckpointConfig.parse(self._run.checkpoint_config)
        if config.checkpoint_at_end is None and is_class_trainable(as_trainable(self._trainable)):
            return replace(config, checkpoint_at_end=True)
        return config

    def options(self) -> RunOptions:
        """The options besides the experiment itself."""
        tune, run = self._tune, self._run
        return RunOptions(
            metric=tune.metric,
            mode=tune.mode,
            search_alg=tune.search_alg,
            scheduler=tune.scheduler,
            max_concurrent=tune.max_concurrent_trials,
            failure=run.failure_config or FailureConfig(),
            callbacks=run.callbacks,
            verbose=run.verbose,
            reporter=run.progress_reporter,
            reuse_actors=tune.reuse_actors,
            cluster=self._cluster,
            slurm=self._slurm,
            chdir_to_trial_dir=tune.chdir_to_trial_dir,
            share_with_group=run.share_with_group,
        )


def _grid(paths: ExperimentPaths, tune: TuneConfig, trials: Sequence[Trial] | None = None) -> ResultGrid:
    return ResultGrid(ExperimentAnalysis(paths.root, trials=trials, default_metric=tune.metric, default_mode=tune.mode))


def _brought_here(path: str | os.PathLike[str], filesystem: Any) -> ExperimentPaths:
    """The experiment's directory on this machine; brought from its mirror if ``path`` is elsewhere."""
    if filesystem is None and not is_copy(path):
        return ExperimentPaths(Path(as_text(path).removeprefix("file://")).expanduser().absolute())
    return bring_here(as_text(path), env.settings().result_dir, filesystem)
