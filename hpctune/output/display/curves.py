"""Sparklines of the metric for the trials that a live table shows."""

from __future__ import annotations

from hpctune.common.text_plot import sparkline
from hpctune.model.trial import Trial
from hpctune.output.display.columns import metric_value

WIDTH = 12
"""Characters of a sparkline."""


class ShownCurves:
    """Remembers the metric of each trial from the moments at which it was shown, at most ``8 * WIDTH`` values."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[int, float]]] = {}

    def text(self, trial: Trial, metric: str | None) -> str:
        """Note the trial's newest value. Returns its values so far as text, "" before the second one."""
        value = metric_value(trial, metric) if metric else None
        points = self._points.setdefault(trial.trial_id, [])
        if value is not None and (not points or points[-1][0] != trial.last_iteration):
            points.append((trial.last_iteration, value))
        if len(points) > 8 * WIDTH:
            del points[1:-1:2]
        return sparkline([value for _, value in points], WIDTH) if len(points) > 1 else ""
