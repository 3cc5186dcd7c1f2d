"""The objectives that a command works with: as they are given, else the experiment's own."""

from __future__ import annotations

from hpctune.analysis.load import LoadedExperiment, reported_keys
from hpctune.common.checks import check_mode
from hpctune.errors import UsageError
from hpctune.model.rows import missing_metric, number


def objectives(loaded: LoadedExperiment, metric: str | None, mode: str | None) -> list[tuple[str, str]]:
    """The metrics with their modes: as they are given, else the experiment's own. Raises UsageError if one is unknown,
    MetricError if no result has it."""
    own = dict(loaded.spec.objectives)
    metrics = [name.strip() for name in metric.split(",") if name.strip()] if metric else list(own)
    if not metrics:
        known = ", ".join(reported_keys(loaded.trials)) or "nothing yet"
        raise UsageError(f"The experiment has no metric. Give one: --metric NAME --mode min|max. Reported: {known}.")
    modes = [word.strip() for word in mode.split(",")] if mode else [own.get(name) for name in metrics]
    modes = modes * len(metrics) if len(modes) == 1 else modes
    if len(modes) != len(metrics):
        raise UsageError(f"--mode {mode} has {len(modes)} modes for {len(metrics)} metrics. Give one, or one for each.")
    found = []
    for name, how in zip(metrics, modes, strict=True):
        if how is None:
            raise UsageError(f"Which values of {name!r} are better? Give --mode min or --mode max.")
        check_mode(how)
        _check_reported(loaded, name)
        found.append((name, how))
    return found


def _check_reported(loaded: LoadedExperiment, metric: str) -> None:
    if not any(trial.value.results for trial in loaded.trials):
        return
    last = any(number(trial.value.last, metric) is not None for trial in loaded.trials)
    if not last and not any(number(r.row, metric) is not None for t in loaded.trials for r in loaded.rows(t.trial_id)):
        raise missing_metric(metric, reported_keys(loaded.trials), "The metric")
