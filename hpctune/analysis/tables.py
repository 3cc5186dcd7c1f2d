"""Results as pandas tables. pandas is imported on first use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpctune.analysis.best import best_row
from hpctune.analysis.load import reported_keys
from hpctune.model.rows import NOT_SHOWN, flatten, missing_metric
from hpctune.storage.reader import CountedRow
from hpctune.trial import Trial

if TYPE_CHECKING:
    import pandas as pd


def flat_row(row: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A result as one line, with the configuration under ``config/``."""
    return flatten({k: v for k, v in row.items() if k not in NOT_SHOWN}) | flatten(config, "config/")


def all_results(trial: Trial, rows: Iterable[CountedRow]) -> pd.DataFrame:
    """Every result of one trial."""
    import pandas as pd

    return pd.DataFrame([flat_row(r.row, trial.config) for r in rows])


def last_results(trials: Sequence[Trial]) -> pd.DataFrame:
    """The last result of each trial, by trial id; trials without one have their configuration only."""
    import pandas as pd

    lines = [flat_row(t.last_result if t.value.last else {}, t.config) | {"trial_id": t.trial_id} for t in trials]
    return pd.DataFrame(lines, columns=None if lines else ["trial_id"]).set_index("trial_id")


def one_line_each(
    trials: Mapping[Trial, Sequence[CountedRow]] | Sequence[Trial], metric: str | None, mode: str | None
) -> pd.DataFrame:
    """For each trial that reported its last result, or that with the best value of ``metric``."""
    import pandas as pd

    lines = []
    for trial in trials:
        row: Mapping[str, Any] | None = trial.value.last or None
        if metric is not None and mode is not None and isinstance(trials, Mapping):
            row = best_row((r.row for r in trials[trial]), metric, mode)
        if row is not None:
            lines.append(flat_row(row, trial.config) | {"logdir": trial.local_path})
    if not lines and metric is not None and any(t.has_reported_at_least_once for t in trials):
        raise missing_metric(metric, reported_keys(list(trials)), "Metric")
    return pd.DataFrame(lines)
