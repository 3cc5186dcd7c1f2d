"""What every picture is made of: the trials with their parameters, and their results. Loads no numpy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hpctune.common.checks import check_mode, is_number
from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.model.progress import stopped_early
from hpctune.model.rows import AUTO_FILLED, flatten, missing_metric, number
from hpctune.model.trial import Phase, Trial
from hpctune.space.describe import log_scales
from hpctune.storage.reader import ExperimentView


class State(str, Enum):
    """How a trial stands, as pictures tell it."""

    COMPLETED = "completed"
    STOPPED = "stopped early"
    """By the scheduler, a stopper, a budget, or a user, before it came to its end."""
    FAILED = "failed"
    RUNNING = "running"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class PlotTrial:
    """A trial: its flat parameters, and all its results that count, in order. ``at``: when it was last heard of."""

    value: Trial
    state: State
    params: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    at: float = 0.0

    @property
    def label(self) -> str:
        """As it is named in pictures."""
        return self.value.trial_id

    def last(self, metric: str) -> float | None:
        """The last value of ``metric`` that is a finite number; None if its last result has none."""
        found = number(self.value.last, metric)
        return found if found is not None and math.isfinite(found) else None


@dataclass(frozen=True, slots=True)
class PlotData:
    """The trials of an experiment, and what it compares them by."""

    name: str
    trials: Sequence[PlotTrial]
    metric: str | None = None
    mode: str | None = None
    began_at: float = 0.0
    own_metrics: Sequence[str] = field(default=())
    """Every number in the last results that the user's code reported."""
    objectives: Sequence[tuple[str, str]] = ()
    """The metrics with their modes, if several are optimized."""
    log_scales: Mapping[str, bool] = field(default_factory=dict)
    """Whether a parameter's axis is logarithmic. Of other parameters the values decide."""

    def checked_metric(self, metric: str | None, what: str) -> str:
        """The metric to show. Raises UsageError if none is known, MetricError if no result has it."""
        metric = metric or self.metric
        if metric is None:
            known = f" Reported: {', '.join(self.own_metrics)}." if self.own_metrics else ""
            raise UsageError(f"{what} needs a metric (metric=..., --metric NAME).{known}")
        if any(t.value.results for t in self.trials) and not any(number(r, metric) is not None for r in self._known()):
            raise missing_metric(metric, sorted({k for r in self._known() for k in flatten(r)}), "Metric")
        return metric

    def checked_mode(self, mode: str | None, metric: str, what: str) -> str:
        """Which values of ``metric`` are better. Raises UsageError if that is not known."""
        mode = self.known_mode(mode, metric)
        if mode is None:
            raise UsageError(
                f"{what} needs a mode for {metric!r}: are its low values better (min), or high ones (max)? "
                "Give mode=..., or modes=... for two metrics; on the command line --mode, or --modes."
            )
        return mode

    def known_mode(self, mode: str | None, metric: str | None) -> str | None:
        """The mode that is given, or the experiment's own for its own metric; None: not known."""
        if mode is not None:
            check_mode(mode)
        return mode or (self.mode if metric == self.metric else dict(self.objectives).get(str(metric)))

    def _known(self) -> Iterator[Mapping[str, Any]]:
        for trial in self.trials:
            yield trial.value.last
            yield from trial.rows

    def checked_params(self, names: Sequence[str], what: str) -> None:
        """Raises UsageError for a parameter that no trial has."""
        known = {name: None for trial in self.trials for name in trial.params}
        for name in names:
            if name not in known:
                have = f"There are: {', '.join(known)}." if known else "No trial has parameters."
                raise UsageError(f"{what}: there is no parameter {name!r}. {nearest(name, known)}{have}")


def plot_data(
    name: str,
    trials: Iterable[Trial],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    metric: str | None = None,
    mode: str | None = None,
    began_at: float = 0.0,
    objectives: Sequence[tuple[str, str]] = (),
    search_space: object = None,
) -> PlotData:
    """The data for all pictures. ``rows``: the results that count, by trial id. ``search_space``: as the experiment's
    origin has it."""
    plotted = [_plotted(trial, rows.get(trial.trial_id, ())) for trial in trials]
    own = {
        key: None
        for trial in plotted
        for key, value in flatten({k: v for k, v in trial.value.last.items() if k not in AUTO_FILLED}).items()
        if is_number(value)
    }
    if metric in own:
        own = {metric: None} | own
    return PlotData(name, plotted, metric, mode, began_at, tuple(own), objectives, log_scales(search_space))


def of_view(view: ExperimentView) -> PlotData:
    """The data for all pictures of an experiment that was read with its rows."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for counted in view.rows:
        rows.setdefault(counted.trial_id, []).append(counted.row)
    spec, name, trials = view.state.spec, view.paths.root.name, view.state.trials.values()
    space = spec.origin.get("search_space")
    return plot_data(name, trials, rows, spec.metric, spec.mode, spec.created_at, spec.objectives, space)


def _plotted(trial: Trial, rows: Sequence[Mapping[str, Any]]) -> PlotTrial:
    heard = trial.attempt.heard_at if trial.attempt is not None else None
    at = trial.ended_at or heard or trial.started_at or trial.added_at
    return PlotTrial(trial, state_of(trial), flatten(trial.shown_config), rows, at)


def state_of(trial: Trial) -> State:
    """How ``trial`` stands."""
    if trial.phase is Phase.ERROR:
        return State.FAILED
    if trial.phase is Phase.TERMINATED:
        return State.STOPPED if stopped_early(trial) else State.COMPLETED
    return State.RUNNING if trial.phase is Phase.RUNNING else State.WAITING
