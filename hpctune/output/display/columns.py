"""The columns of a trial table, and the format of their values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.model.rows import AUTO_FILLED, flatten, lookup
from hpctune.model.trial import Trial

DEFAULT_METRICS = {"training_iteration": "iter", "time_total_s": "total time (s)", "timesteps_total": "ts"}
ColumnChoice = Sequence[str] | Mapping[str, str] | None
"""Keys, or keys with the headings to show; None: chosen here."""


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of a table: the arguments of Ray Tune's reporters. ``metric`` and ``mode`` say which trial is best;
    ``objectives``: all metrics with their modes, if there are several."""

    metric: str | None = None
    mode: str | None = None
    objectives: tuple[tuple[str, str], ...] = ()
    metric_columns: ColumnChoice = None
    parameter_columns: ColumnChoice = None
    max_rows: int = 20
    max_error_rows: int = 20
    max_column_length: int = 20
    infer_limit: int = 3
    sort_by_metric: bool = False
    total_samples: int | None = None


def parameter_columns(trials: Iterable[Trial], options: Options) -> dict[str, str]:
    """Parameter key -> heading."""
    chosen = _as_dict(options.parameter_columns)
    return chosen if chosen is not None else {key: key for trial in trials for key in flatten(trial.varied)}


def metric_columns(trials: Sequence[Trial], options: Options) -> dict[str, str]:
    """Metric key -> heading: those asked for, or the usual ones and a few of what the user reports."""
    chosen = _as_dict(options.metric_columns)
    if chosen is None:
        chosen = {k: h for k, h in DEFAULT_METRICS.items() if any(t.last.get(k) is not None for t in trials)}
        chosen |= {key: key for key in _inferred(trials, options)}
        chosen |= {options.metric: options.metric} if options.metric else {}
        chosen |= {name: name for name, _ in options.objectives}
    return chosen


def _inferred(trials: Sequence[Trial], options: Options) -> list[str]:
    found: dict[str, None] = {}
    for trial in trials:
        for key, value in flatten({k: v for k, v in trial.last.items() if k not in AUTO_FILLED}).items():
            if isinstance(value, (int, float)) and key != options.metric:
                found[key] = None
        if len(found) >= options.infer_limit:
            break
    return list(found)[: options.infer_limit]


def _as_dict(choice: ColumnChoice) -> dict[str, str] | None:
    if choice is None:
        return None
    return dict(choice) if isinstance(choice, Mapping) else {key: key for key in choice}


def parameter(trial: Trial, key: str, width: int = 0) -> str:
    """A parameter as a cell, from the varied ones, else from the configuration; "" if the trial does not have it."""
    varied = trial.varied if key in trial.varied else flatten(trial.varied)
    return setting(varied[key], width) if key in varied else cell(lookup(trial.shown_config, key), width)


def setting(value: Any, width: int = 0) -> str:
    """The value of a parameter on one line: None is a value, too."""
    return cell(str(value) if value is None else value, width)


def metric_value(trial: Trial, metric: str) -> float | None:
    """The finite value of ``metric`` in the last result of ``trial``."""
    value = lookup(trial.last, metric)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def cell(value: Any, width: int = 0) -> str:
    """``value`` on one line, at most ``width`` characters (0: any)."""
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if not width or len(text) <= width else text[: max(width - 2, 1)] + ".."


def parameters_text(trial: Trial, width: int = 0) -> str:
    """``lr=0.01, layers=3``."""
    return cell(", ".join(f"{k}={setting(v, 24)}" for k, v in flatten(trial.varied).items()), width)
