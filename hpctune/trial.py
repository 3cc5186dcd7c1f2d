"""``Trial``: the public view of a trial for callbacks, reporters, name creators and analysis, with Ray Tune's names."""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hpctune.checkpoint import Checkpoint
from hpctune.errors import TuneError, as_instance_of
from hpctune.model import trial as model
from hpctune.model.metric_stats import MetricStats
from hpctune.model.records import ErrorInfo
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.model.rows import lookup
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.storage.reader import counted_rows

PENDING, RUNNING, PAUSED, TERMINATED, ERROR = "PENDING", "RUNNING", "PAUSED", "TERMINATED", "ERROR"
_STATUS: dict[Phase, str] = {Phase.PENDING: PENDING, Phase.SUBMITTING: PENDING, Phase.QUEUED: PENDING} | {
    p: p.value for p in (Phase.RUNNING, Phase.PAUSED, Phase.TERMINATED, Phase.ERROR)
}


def as_exception(error: ErrorInfo) -> TuneError:
    """``error`` as an exception. Its text is the full traceback if there is one. It is an instance of the class that
    was raised as well, if that is one of Python's own."""
    kind = getattr(builtins, error.kind, Exception)
    text = error.traceback.strip() or str(error)
    return as_instance_of(text, kind) if isinstance(kind, type) else TuneError(text)


@dataclass(slots=True)
class StatsTracking:
    """Whether statistics were ever requested. From then on the views keep them up to date."""

    asked: bool = False


class Trial:
    """One trial: a light view of a frozen value. The driver replaces :attr:`value` when the trial changes.

    Two views of the same trial are equal.
    """

    PENDING, RUNNING, PAUSED, TERMINATED, ERROR = PENDING, RUNNING, PAUSED, TERMINATED, ERROR
    as_html: ClassVar[Callable[[Trial], str] | None] = None
    """What a notebook shows of a trial. The analysis, which is a layer above, sets it."""

    def __init__(
        self,
        value: model.Trial,
        paths: ExperimentPaths,
        spec: ExperimentSpec,
        rows: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
        tracking: StatsTracking | None = None,
    ) -> None:
        """``rows``: a function that reads all results of ``value``. ``tracking``: shared with other views."""
        self._value, self._paths, self.spec, self._rows = value, paths, spec, rows
        self._tracking = tracking or StatsTracking()
        self._stats = MetricStats()

    @property
    def value(self) -> model.Trial:
        """The frozen value of which this is a view."""
        return self._value

    @value.setter
    def value(self, value: model.Trial) -> None:
        before = self._value.results
        if self._tracking.asked and value.results == before + 1 and self._stats.count == before:
            self._stats.add(value.last)
        self._value = value

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Compute the statistics from all counted rows of the trial."""
        self._stats = MetricStats(rows)

    # -- identity -----------------------------------------------------------------------------------------------

    @property
    def trial_id(self) -> str:
        return self._value.trial_id

    @property
    def custom_trial_name(self) -> str | None:
        """The name from ``trial_name_creator``, if any."""
        default = f"{self.spec.trainable}_{self.trial_id}"
        return self._value.name if self._value.name != default else None

    @property
    def trainable_name(self) -> str:
        return self.spec.trainable

    @property
    def experiment_tag(self) -> str:
        """The trial's number and varied parameters as text: ``3_lr=0.01``."""
        return self._value.tag

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration with what the trial has stated of it, as a new dict each time."""
        return self._value.shown_config

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The varied parameters, as a flat dict."""
        return self._value.varied

    @property
    def resources(self) -> Resources:
        return self._value.resources

    @property
    def placement_group_factory(self) -> PlacementGroupFactory:
        """The resources in Ray Tune's form."""
        return self.resources.placement_group_factory()

    # -- directories and nodes ----------------------------------------------------------------------------------

    def move(self, paths: ExperimentPaths) -> None:
        """Go on with the experiment at ``paths``, where it was renamed to."""
        self._paths = paths

    @property
    def paths(self) -> TrialPaths:
        return self._paths.trial(self._value.dirname)

    @property
    def local_path(self) -> str:
        """The trial's directory."""
        return str(self.paths.root)

    path = logdir = local_path

    @property
    def local_experiment_path(self) -> str:
        """The experiment's directory."""
        return str(self._paths.root)

    @property
    def experiment_dir_name(self) -> str:
        return self._paths.root.name

    @property
    def local_dir(self) -> str:
        """The parent of the experiment's directory."""
        return str(self._paths.root.parent)

    @property
    def relative_logdir(self) -> str:
        return self._value.dirname

    @property
    def location(self) -> str:
        """The node on which it runs, or ran last."""
        attempt = self._value.attempt
        return attempt.nodes if attempt is not None and attempt.nodes else str(self._value.last.get("hostname", ""))

    @property
    def node_ip(self) -> str | None:
        address = self._value.last.get("node_ip")
        return None if address is None else str(address)

    @property
    def job_id(self) -> str | None:
        """The job of the current attempt, if it has one."""
        return self._value.attempt.job_id if self._value.attempt is not None else None

    # -- status and results -------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""
        return _STATUS[self._value.phase]

    def is_finished(self) -> bool:
        return self._value.phase.final

    @property
    def start_time(self) -> float | None:
        """When its first run started (Unix seconds)."""
        return self._value.started_at

    @property
    def last_result(self) -> dict[str, Any]:
        """The last counted result; empty before the first. ``done`` is true in it if the trial has ended without an
        error. Of a trainable that came to its end and reported nothing: what is known of every trial."""
        value = self._value
        came_to_its_end = value.phase is Phase.TERMINATED and value.started_at is not None and value.stop is None
        if came_to_its_end and not value.last:
            return self.known_fields
        if value.last and value.phase is Phase.TERMINATED:
            return {**value.last, "done": True}
        return dict(value.last)

    @property
    def known_fields(self) -> dict[str, Any]:
        """The fields of a result that are known of a trial without one."""
        return {
            "trial_id": self.trial_id,
            "experiment_tag": self.experiment_tag,
            "config": self.config,
            "done": self.is_finished(),
            "hostname": "",  # where an attempt ran is in its results only
        }

    @property
    def has_reported_at_least_once(self) -> bool:
        return self._value.results > 0

    def statistics(self) -> MetricStats:
        """Statistics over all results. Results that this view has not seen are read from the journal."""
        self._tracking.asked = True
        if self._stats.count != self._value.results:
            self.learn(self.rows())
        return self._stats

    def _repr_html_(self) -> str | None:
        """What a notebook shows."""
        return None if Trial.as_html is None else Trial.as_html(self)

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """All results so far."""
        if self._rows is not None:
            return self._rows()
        return [r.row for r in counted_rows(self._paths, [self.trial_id])[self.trial_id]]

    @property
    def metric_analysis(self) -> dict[str, dict[str, float]]:
        """Metric -> max, min, avg, last, last-5-avg, last-10-avg over all results."""
        return self.statistics().analysis()

    @property
    def metric_n_steps(self) -> dict[str, dict[str, deque[float]]]:
        """Metric -> its last 5 and last 10 values."""
        return self.statistics().n_steps()

    @property
    def stopping_criterion(self) -> dict[str, Any]:
        return dict(self.spec.criteria)

    def should_stop(self, result: Mapping[str, Any]) -> bool:
        """Whether ``result`` meets a stop criterion of the experiment, or is marked as the last (``done``)."""
        reached = (lookup(result, key) for key in self.spec.criteria)
        limits = zip(self.spec.criteria.values(), reached, strict=True)
        return bool(result.get("done")) or any(value is not None and value >= limit for limit, value in limits)

    # -- checkpoints and failures -------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint."""
        newest = self._value.newest_checkpoint
        return self.open_checkpoint(newest) if newest is not None else None

    def open_checkpoint(self, ref: CheckpointRef) -> Checkpoint:
        """The checkpoint that ``ref`` names."""
        return Checkpoint(str(self.paths.checkpoint(ref.name)))

    def has_checkpoint(self) -> bool:
        return bool(self._value.checkpoints)

    @property
    def checkpoint_freq(self) -> int:
        return self.spec.checkpoint.frequency

    @property
    def checkpoint_at_end(self) -> bool:
        return self.spec.checkpoint.at_end

    @property
    def restore_path(self) -> str | None:
        """The checkpoint from which the next attempt starts."""
        return self._value.restore

    @property
    def max_failures(self) -> int:
        return self.spec.max_failures

    @property
    def num_failures(self) -> int:
        """The number of failures so far, including the one that ended the trial."""
        return self._value.failures + (self._value.phase is Phase.ERROR)

    @property
    def error_file(self) -> str | None:
        """The path of ``error.txt``, if the trial ever failed."""
        return str(self.paths.error) if self._value.error is not None or self.num_failures else None

    def get_error(self) -> TuneError | None:
        """The last failure as an exception; its text is the traceback."""
        error = self._value.error
        return None if error is None else as_exception(error)

    # -- values -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self._value.name

    def __repr__(self) -> str:
        return f"Trial({self._value.name}, {self.status})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trial) and other.trial_id == self.trial_id

    def __hash__(self) -> int:
        return hash(self.trial_id)
