"""``ResultGrid``: the return value of ``Tuner.fit()``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpctune.analysis.experiment_analysis import ExperimentAnalysis
from hpctune.analysis.pictures.trials import PlotData
from hpctune.analysis.plotting import Plots
from hpctune.analysis.result import Result
from hpctune.errors import TuneError, UsageError
from hpctune.model.trial import Phase

if TYPE_CHECKING:
    import pandas as pd


class ResultGrid(Plots):
    """The results of all trials, in the order in which the trials were made."""

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._analysis = experiment_analysis

    @property
    def experiment_path(self) -> str:
        """The experiment's directory."""
        return self._analysis.experiment_path

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """The result of the best trial (see :meth:`ExperimentAnalysis.get_best_trial`); of the only one, if there
        is one and nothing says what to compare.

        Raises:
            UsageError: without a metric, or a mode, here or in the TuneConfig; or with several in the TuneConfig, and
                none here: there is a Pareto front then, see :meth:`get_best_results`.
            MetricError: if no result has the metric.
            RuntimeError: if no trial has a value to compare.
        """
        analysis = self._analysis
        if len(self) == 1 and metric is None and mode is None and analysis.default_metric is None:
            return self[0]
        if not (metric or analysis.default_metric) or not (mode or analysis.default_mode):
            raise UsageError(
                "get_best_result needs metric and mode, here or in the TuneConfig: metric=..., mode='min'."
            )
        trial = analysis.get_best_trial(metric, mode, scope, filter_nan_and_inf)
        if trial is None:
            name = metric or analysis.default_metric
            raise RuntimeError(
                f"No trial has a value of {name!r} to compare: {len(self)} trials, {self.num_errors} with errors. "
                "NaN and infinite values count with filter_nan_and_inf=False."
            )
        return Result.of(analysis, trial)

    def get_best_results(
        self, metric: str | Sequence[str] | None = None, mode: str | Sequence[str] | None = None
    ) -> list[Result]:
        """The results of the trials that no other trial beats (see :meth:`ExperimentAnalysis.get_best_trials`): the
        Pareto front of several metrics; of one metric the best."""
        return [Result.of(self._analysis, trial) for trial in self._analysis.get_best_trials(metric, mode)]

    def get_dataframe(self, filter_metric: str | None = None, filter_mode: str | None = None) -> pd.DataFrame:
        """One line for each trial: its last result, or that with the best value of ``filter_metric``."""
        return self._analysis.dataframe(filter_metric, filter_mode)

    def plot_data(self) -> PlotData:
        """The trials and results from which the ``plot_...`` methods make their pictures."""
        return self._analysis.plot_data()

    @property
    def errors(self) -> list[TuneError]:
        """Why trials failed, one exception for each that did."""
        failed = (t for t in self._analysis.trials if t.value.phase is Phase.ERROR)
        return [t.get_error() or TuneError(t.value.reason or "unknown error") for t in failed]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return sum(t.value.phase is Phase.ERROR for t in self._analysis.trials)

    @property
    def num_terminated(self) -> int:
        """How many trials ended without an error."""
        return sum(t.value.phase is Phase.TERMINATED for t in self._analysis.trials)

    def __len__(self) -> int:
        return len(self._analysis.trials)

    def __getitem__(self, index: int) -> Result:
        return Result.of(self._analysis, self._analysis.trials[index])

    def __iter__(self) -> Iterator[Result]:
        return (self[n] for n in range(len(self)))

    def __repr__(self) -> str:
        parts = [f"{len(self)} trials", f"{self.num_terminated} terminated", f"{self.num_errors} with errors"]
        return f"<ResultGrid {self.experiment_path}: {', '.join(parts)}>"
