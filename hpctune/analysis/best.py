"""Selection of the best trial and the best checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpctune.analysis.load import reported_keys
from hpctune.common.checks import check_mode
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.model import ranking
from hpctune.model.metric_stats import as_number
from hpctune.model.rows import flatten, lookup, missing_metric, number
from hpctune.model.trial import CheckpointRef
from hpctune.storage.reader import CountedRow
from hpctune.trial import Trial

SCOPES = ("last", "avg", "last-5-avg", "last-10-avg", "all")


def checked_scope(scope: str) -> str:
    """``scope``, if it is valid."""
    if scope not in SCOPES:
        raise UsageError(f"scope must be one of {', '.join(SCOPES)}; not {scope!r}.")
    return scope


def best_trial(
    trials: Sequence[Trial], metric: str, mode: str, scope: str = "last", filter_nan_and_inf: bool = True
) -> Trial | None:
    """The trial with the best value; None if no trial has one.

    Without ``filter_nan_and_inf`` NaN counts as worse than any number.

    Raises:
        MetricError: if results were reported, and none of them ever had this metric.
    """
    check_mode(mode)
    checked_scope(scope)
    scored = [(score(trial, metric, mode, scope), trial) for trial in trials]
    found = any(value is not None for value, _ in scored)
    best = ranking.best(scored, mode, finite=filter_nan_and_inf)
    if not found and any(t.has_reported_at_least_once for t in trials):
        raise missing_metric(metric, reported_keys(trials), "Metric")
    if best is None:
        why = f"every value of {metric!r} is NaN or infinite" if found else "no trial has reported a result yet"
        log.warning(f"There is no best trial: {why}.")
        return None
    return best[1]


def check_reported(trials: Sequence[Trial], metric: str) -> None:
    """Raise MetricError if results were reported, and none of the last ones has this metric."""
    reported = [trial for trial in trials if trial.has_reported_at_least_once]
    if reported and all(number(trial.value.last, metric) is None for trial in reported):
        raise missing_metric(metric, reported_keys(reported), "Metric")


def score(trial: Trial, metric: str, mode: str, scope: str) -> float | None:
    """The value used to compare ``trial``; None if it never reported the metric as a number."""
    if scope == "last":
        value = number(trial.value.last, metric)
        if value is not None or not trial.has_reported_at_least_once:
            return value
    statistics = trial.statistics().get(metric)
    return None if statistics is None else statistics[mode if scope == "all" else scope]


def best_row(rows: Iterable[Mapping[str, Any]], metric: str, mode: str) -> Mapping[str, Any] | None:
    """The result with the best value of ``metric`` that is not NaN; None if there is none."""
    found = ranking.best(((number(row, metric), row) for row in rows), mode)
    return found[1] if found is not None else None


def checkpoint_rows(trial: Trial, rows: Sequence[CountedRow]) -> list[tuple[CheckpointRef, Mapping[str, Any]]]:
    """Each kept checkpoint, oldest first, with its result ({} if there is none)."""
    named = {r.checkpoint.name: r.row for r in rows if r.checkpoint is not None}
    by_iteration = {as_number(r.row.get("training_iteration", n)): r.row for n, r in enumerate(rows, 1)}
    return [
        (ref, named.get(ref.name) or by_iteration.get(float(ref.iteration)) or {}) for ref in trial.value.checkpoints
    ]


def best_checkpoint(
    checkpoints: Sequence[tuple[CheckpointRef, Mapping[str, Any]]], metric: str, mode: str
) -> CheckpointRef | None:
    """The checkpoint whose result has the best value of ``metric``; NaN never is. Of equals the newest.

    Raises:
        MetricError: if there are checkpoints, and no result of theirs has the metric.
    """
    check_mode(mode)
    sign = 1.0 if mode == "max" else -1.0
    valued = [
        (sign * value, n, ref)
        for n, (ref, row) in enumerate(checkpoints)
        if (value := number(row, metric)) is not None and value == value
    ]
    rows = [row for _, row in checkpoints if row]
    if rows and all(lookup(row, metric) is None for row in rows):
        raise missing_metric(metric, {k: None for row in rows for k in flatten({**row, "config": {}})}, "Metric")
    return max(valued, key=lambda v: v[:2])[2] if valued else None
