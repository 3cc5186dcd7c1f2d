"""``ExperimentAnalysis``: an experiment's results, read from its directory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hpctune.analysis import best, tables
from hpctune.analysis.load import LoadedExperiment, experiment_roots
from hpctune.analysis.pictures.trials import PlotData, plot_data
from hpctune.analysis.plotting import Plots
from hpctune.checkpoint import Checkpoint
from hpctune.common.checks import check_mode, checked_objectives
from hpctune.errors import UsageError
from hpctune.mirror.fetch import readable
from hpctune.model.ranking import pareto_front
from hpctune.model.rows import flatten, lookup
from hpctune.model.trial import CheckpointRef
from hpctune.storage.reader import CountedRow
from hpctune.trial import Trial

if TYPE_CHECKING:
    import pandas as pd

_Value = TypeVar("_Value")
AnyPath = str | os.PathLike[str]


class ByTrial(dict[str, _Value]):
    """Values by trial id. A trial's directory, as in old versions of Ray Tune, is also accepted as a key."""

    def __init__(self, values: Mapping[str, _Value], trials: Sequence[Trial]) -> None:
        super().__init__(values)
        self._ids = {trial.local_path: trial.trial_id for trial in trials}

    def __missing__(self, key: str) -> _Value:
        trial_id = self._ids.get(key.rstrip("/"))
        if trial_id is None or trial_id not in self:
            raise KeyError(key)
        return self[trial_id]


class ExperimentAnalysis(Plots):
    """What came out of an experiment, or of several together. Needs no driver, takes no lock and changes nothing;
    a running experiment is shown as it is now (make a new one to see more).

    Args:
        experiment_checkpoint_path: The experiment's directory, or its name under the storage path, or a list of such.
            A directory that holds experiments means all of them. Or the URL of a mirror (or its path on
            ``storage_filesystem``): it is read from a copy in the cache directory.
        trials: Its trials, if they are already known.
        default_metric, default_mode: For properties and for methods that are given none; None: the experiment's own.
            Lists, if several metrics are optimized.
    """

    def __init__(
        self,
        experiment_checkpoint_path: AnyPath | Sequence[AnyPath],
        *,
        storage_filesystem: Any = None,
        trials: Sequence[Trial] | None = None,
        default_metric: str | Sequence[str] | None = None,
        default_mode: str | Sequence[str] | None = None,
    ) -> None:
        one = isinstance(experiment_checkpoint_path, (str, os.PathLike))
        paths: Sequence[AnyPath] = [experiment_checkpoint_path] if one else experiment_checkpoint_path  # type: ignore
        if not paths:
            raise UsageError("ExperimentAnalysis needs at least one experiment directory.")
        if storage_filesystem is not None:
            paths = [readable(os.fspath(path), storage_filesystem).root for path in paths]
        objectives = checked_objectives(default_metric, default_mode)
        roots = [root for path in paths for root in experiment_roots(os.fspath(path))]
        if trials is not None and len(roots) > 1:
            raise UsageError("ExperimentAnalysis takes trials for one experiment only; leave them out for several.")
        self._experiments = [LoadedExperiment(root, trials) for root in roots]
        self.trials: list[Trial] = [t for x in self._experiments for t in x.trials]
        """All trials, in the order in which they were made."""
        self._home = {t.trial_id: x for x in self._experiments for t in x.trials}
        spec = self._experiments[0].spec
        own = spec.objectives or ((spec.metric, spec.mode),)
        objectives = own if default_metric is None and len(own) > 1 and default_mode is None else objectives
        self.default_metric = objectives[0][0] or spec.metric
        """The metric, or the first one of several."""
        self.default_mode = objectives[0][1] or spec.mode
        self.objectives = tuple((str(each), str(how)) for each, how in objectives) if len(objectives) > 1 else ()
        """The metrics with their modes, if there are several; else empty."""

    # -- asking -------------------------------------------------------------------------------------------------

    def _metric(self, metric: str | None, what: str) -> str:
        if metric is None and self.objectives and what == "get_best_trial":
            names = ", ".join(name for name, _ in self.objectives)
            raise UsageError(
                f"The experiment optimizes several metrics ({names}), so there is a Pareto front, and no single best "
                "trial: get_best_trials() of an ExperimentAnalysis, get_best_results() of a ResultGrid. The best by "
                f"one of them: metric={self.objectives[0][0]!r}, mode={self.objectives[0][1]!r}."
            )
        metric = metric or self.default_metric
        if metric is None:
            raise UsageError(f"{what} needs a metric. Pass metric=..., or default_metric=... to ExperimentAnalysis.")
        return metric

    def _mode(self, mode: str | None, what: str) -> str:
        mode = mode or self.default_mode
        if mode is None:
            raise UsageError(
                f"{what} needs a mode. Pass mode='min' or 'max', or default_mode=... to ExperimentAnalysis."
            )
        check_mode(mode)
        return mode

    def _trial(self, trial: Trial | AnyPath) -> Trial:
        """The trial meant by itself, its id, its name or its directory."""
        if isinstance(trial, Trial):
            return trial
        text = os.fspath(trial).rstrip("/")
        for known in self.trials:
            if text in (known.trial_id, known.local_path, str(known)):
                return known
        raise UsageError(f"There is no trial {text!r} in {self.experiment_path}. List them with: hpctune list PATH")

    def rows_of(self, trial: Trial) -> list[CountedRow]:
        """Every counted result of a trial, in order."""
        return self._home[trial.trial_id].rows(trial.trial_id)

    @property
    def experiment_path(self) -> str:
        """The (first) experiment's directory."""
        return str(self._experiments[0].paths.root)

    # -- the best -----------------------------------------------------------------------------------------------

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial | None:
        """The best trial; None (with a warning) if no trial has a value.

        Args:
            metric: What to compare.
            mode: "min" or "max".
            scope: Which of a trial's values counts: its "last", the average of all ("avg"), of the last 5 or 10
                ("last-5-avg", "last-10-avg"), or its best ever ("all").
            filter_nan_and_inf: Whether trials whose value is NaN or infinite are left out.

        Raises:
            MetricError: if no result has the metric; it names those that exist.
        """
        metric, mode = self._metric(metric, "get_best_trial"), self._mode(mode, "get_best_trial")
        return best.best_trial(self.trials, metric, mode, scope, filter_nan_and_inf)

    def get_best_trials(
        self, metric: str | Sequence[str] | None = None, mode: str | Sequence[str] | None = None
    ) -> list[Trial]:
        """The trials that no other trial beats (the Pareto front), by their last results; the best of the first metric
        comes first.

        Args:
            metric: What to compare: a list of metrics; None: the experiment's own.
            mode: "min" or "max", for all or for each.

        Raises:
            UsageError: if no metric or mode is known.
            MetricError: if no result has a metric.
        """
        chosen = checked_objectives(metric, mode) if metric is not None else self.objectives
        known = dict(self.objectives)
        objectives = [
            (self._metric(name, "get_best_trials"), self._mode(how or known.get(str(name)), "get_best_trials"))
            for name, how in chosen or ((None, None),)
        ]
        for name, _ in objectives:
            best.check_reported(self.trials, name)
        by_id = {trial.trial_id: trial for trial in self.trials}
        return [by_id[value.trial_id] for value in pareto_front((t.value for t in self.trials), objectives)]

    @property
    def best_trials(self) -> list[Trial]:
        """The Pareto front: see :meth:`get_best_trials`. Of one metric the best trial."""
        return self.get_best_trials()

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """The configuration of the best trial."""
        trial = self.get_best_trial(metric, mode, scope)
        return trial.config if trial is not None else None

    def get_best_logdir(self, metric: str | None = None, mode: str | None = None, scope: str = "last") -> str | None:
        """The directory of the best trial."""
        trial = self.get_best_trial(metric, mode, scope)
        return trial.local_path if trial is not None else None

    @property
    def best_trial(self) -> Trial | None:
        return self.get_best_trial()

    @property
    def best_config(self) -> dict[str, Any] | None:
        return self.get_best_config()

    @property
    def best_logdir(self) -> str | None:
        return self.get_best_logdir()

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best checkpoint of the best trial."""
        trial = self.best_trial
        ref = self._best_checkpoint(trial, None, None) if trial is not None else None
        return trial.open_checkpoint(ref) if trial is not None and ref is not None else None

    @property
    def best_result(self) -> dict[str, Any] | None:
        """The last result of the best trial."""
        trial = self.best_trial
        return trial.last_result if trial is not None else None

    @property
    def best_dataframe(self) -> pd.DataFrame | None:
        """All results of the best trial."""
        trial = self.best_trial
        return self.trial_dataframe(trial) if trial is not None else None

    @property
    def best_result_df(self) -> pd.DataFrame | None:
        """:attr:`best_result` as a table with one line."""
        trial = self.best_trial
        return tables.last_results([trial]) if trial is not None else None

    # -- checkpoints --------------------------------------------------------------------------------------------

    def get_trial_checkpoints_paths(self, trial: Trial | AnyPath, metric: str | None = None) -> list[tuple[str, Any]]:
        """(directory, value of the metric) of each checkpoint that is kept, oldest first."""
        trial, metric = self._trial(trial), metric or self.default_metric or "training_iteration"
        kept = best.checkpoint_rows(trial, self.rows_of(trial))
        return [(trial.open_checkpoint(ref).path, lookup(row, metric)) for ref, row in kept]

    def _best_checkpoint(self, trial: Trial, metric: str | None, mode: str | None) -> CheckpointRef | None:
        metric, mode = self._metric(metric, "get_best_checkpoint"), self._mode(mode, "get_best_checkpoint")
        return best.best_checkpoint(best.checkpoint_rows(trial, self.rows_of(trial)), metric, mode)

    def get_best_checkpoint(
        self,
        trial: Trial | AnyPath,
        metric: str | None = None,
        mode: str | None = None,
        return_path: bool = False,
    ) -> Checkpoint | str | None:
        """The checkpoint of ``trial`` (or its directory) with the best result; None if it has none."""
        trial = self._trial(trial)
        ref = self._best_checkpoint(trial, metric, mode)
        if ref is None:
            return None
        found = trial.open_checkpoint(ref)
        return found.path if return_path else found

    def get_last_checkpoint(
        self, trial: Trial | AnyPath | None = None, metric: str = "training_iteration", mode: str = "max"
    ) -> Checkpoint | None:
        """The newest checkpoint of ``trial``, or of the trial that came furthest (by ``metric`` and ``mode``)."""
        found = self.get_best_trial(metric, mode) if trial is None else self._trial(trial)
        return found.checkpoint if found is not None else None

    # -- tables -------------------------------------------------------------------------------------------------

    def get_all_configs(self, prefix: bool = False) -> ByTrial[dict[str, Any]]:
        """Trial id -> configuration; ``prefix``: flat, with ``config/`` before each key."""
        configs = {t.trial_id: flatten(t.config, "config/") if prefix else t.config for t in self.trials}
        return ByTrial(configs, self.trials)

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Trial id -> last result."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pd.DataFrame:
        """The last result of each trial, with its configuration; the index is the trial id."""
        return tables.last_results(self.trials)

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pd.DataFrame:
        """One line for each trial that reported: its last result, or that with the best value of ``metric``;
        with configuration (``config/...``) and directory (``logdir``)."""
        if metric is not None and mode is None:
            raise UsageError(f"dataframe(metric={metric!r}) needs mode='min' or mode='max'.")
        if mode is not None:
            check_mode(mode)
        if metric is None:
            return tables.one_line_each(self.trials, None, None)
        return tables.one_line_each({t: self.rows_of(t) for t in self.trials}, metric, mode)

    @property
    def trial_dataframes(self) -> ByTrial[pd.DataFrame]:
        """Trial id -> all its results."""
        return self.fetch_trial_dataframes()

    def fetch_trial_dataframes(self) -> ByTrial[pd.DataFrame]:
        """Trial id -> all its results, one line each."""
        return ByTrial({t.trial_id: self.trial_dataframe(t) for t in self.trials}, self.trials)

    def trial_dataframe(self, trial: Trial | AnyPath) -> pd.DataFrame:
        """All results of one trial, one line each, with its configuration under ``config/``."""
        trial = self._trial(trial)
        return tables.all_results(trial, self.rows_of(trial))

    # -- pictures -----------------------------------------------------------------------------------------------

    def plot_data(self) -> PlotData:
        """The trials and results from which the ``plot_...`` methods make their pictures."""
        rows = {t.trial_id: [counted.row for counted in self.rows_of(t)] for t in self.trials}
        name, spec = self._experiments[0].paths.root.name, self._experiments[0].spec
        values, space = [trial.value for trial in self.trials], spec.origin.get("search_space")
        return plot_data(
            name, values, rows, self.default_metric, self.default_mode, spec.created_at, self.objectives, space
        )

    # -- the run itself -----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """When the experiment began, and when a trial last changed (Unix seconds)."""
        times = [t for trial in self.trials for t in (trial.value.started_at, trial.value.ended_at) if t is not None]
        created = min(x.spec.created_at for x in self._experiments)
        return {"start_time": created, "timestamp": max([created, *times])}

    def runner_data(self) -> dict[str, Any]:
        """The experiment's definition and :meth:`stats`."""
        return {**self._experiments[0].spec.to_json(), "_stats": self.stats()}

    def __repr__(self) -> str:
        return f"ExperimentAnalysis({self.experiment_path!r}, {len(self.trials)} trials)"
