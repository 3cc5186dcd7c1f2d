"""``plot_*``: the pictures of an experiment, for scripts and notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from hpctune.analysis import gantt
from hpctune.analysis.notebook import trials_html
from hpctune.analysis.pictures import curves, importance, parameters, pareto
from hpctune.analysis.pictures.trials import PlotData
from hpctune.analysis.pictures.write import figure
from hpctune.analysis.timeline import timeline


class Plots(ABC):
    """Pictures of an experiment.

    Each method returns a figure of matplotlib, or with ``interactive=True`` one of plotly (both:
    ``pip install 'hpctune[plots]'``). A notebook shows it; ``savefig("a.png")`` writes the first,
    ``write_html("a.html")`` the second. ``metric`` and ``mode`` are the experiment's, unless they are given. Parameters
    of nested configurations are named with slashes: ``"optimizer/lr"``. A trial counts with its last value.

    Raises UsageError if a metric, a mode or a parameter is not known, MetricError for a metric that no result has,
    and MissingPackageError.
    """

    @abstractmethod
    def plot_data(self) -> PlotData:
        """The trials and results from which all pictures are made."""

    @property
    @abstractmethod
    def experiment_path(self) -> str:
        """The (first) experiment's directory."""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return trials_html(self.plot_data(), f"{type(self).__name__} of {self.experiment_path}")

    def plot_history(
        self, metric: str | None = None, mode: str | None = None, *, by: str = "trials", interactive: bool = False
    ) -> Any:
        """The best value so far, ``by`` the number of "trials", or by "time" in hours."""
        return figure(curves.history(self.plot_data(), metric, mode, by), interactive=interactive)

    def plot_learning_curves(
        self,
        metric: str | None = None,
        mode: str | None = None,
        *,
        step: str = curves.STEP,
        interactive: bool = False,
    ) -> Any:
        """The values of each trial over ``step``, with a mark where a trial was stopped early or failed."""
        return figure(curves.learning_curves(self.plot_data(), metric, mode, step), interactive=interactive)

    def plot_importance(
        self, metric: str | None = None, *, params: Sequence[str] = (), interactive: bool = False
    ) -> Any:
        """How much of the metric's variance each parameter explains (``analysis.pictures.importance`` says how)."""
        return figure(importance.importance(self.plot_data(), metric, params), interactive=interactive)

    def plot_parallel_coordinates(
        self,
        metric: str | None = None,
        mode: str | None = None,
        *,
        params: Sequence[str] = (),
        interactive: bool = False,
    ) -> Any:
        """A line for each trial through the values of its parameters to its metric. Better lines are darker."""
        return figure(parameters.parallel(self.plot_data(), metric, mode, params), interactive=interactive)

    def plot_slices(self, metric: str | None = None, *, params: Sequence[str] = (), interactive: bool = False) -> Any:
        """The metric against each parameter."""
        return figure(parameters.slices(self.plot_data(), metric, params), interactive=interactive)

    def plot_contour(self, x: str, y: str, metric: str | None = None, *, interactive: bool = False) -> Any:
        """The metric over the two parameters ``x`` and ``y``, interpolated between the trials."""
        return figure(parameters.surface(self.plot_data(), x, y, metric), interactive=interactive)

    def plot_pareto_front(
        self, metrics: Sequence[str] = (), modes: Sequence[str | None] = (), *, interactive: bool = False
    ) -> Any:
        """The trials by two metrics, and those that no other trial beats in both.

        ``metrics``: the first two that the experiment optimizes, if it has several. ``modes``: "min" or "max" for each;
        the experiment's own metrics may have None.
        """
        data = self.plot_data()
        metrics = metrics or [name for name, _ in data.objectives[:2]]
        return figure(pareto.pareto(data, metrics, modes), interactive=interactive)

    def plot_timeline(self) -> Any:
        """How the time of the (first) experiment's allocations was used: a figure of matplotlib."""
        return gantt.figure(timeline(self.experiment_path), self.plot_data().name)
