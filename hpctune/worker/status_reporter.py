"""``StatusReporter``: what functions of Ray Tune 0.x and 1.x get as their second argument."""

from __future__ import annotations

from typing import Any

from hpctune.worker.context import get_trial_dir, get_trial_id, get_trial_name, report_row


class StatusReporter:
    """``reporter(loss=0.1)`` reports; it also knows the trial."""

    def __call__(self, _metric: Any = None, **metrics: Any) -> None:
        """Report these metrics."""
        report_row(metrics if _metric is None else {"_metric": _metric, **metrics})

    @property
    def logdir(self) -> str | None:
        """The trial's directory."""
        return get_trial_dir()

    @property
    def trial_name(self) -> str | None:
        """The trial's name."""
        return get_trial_name()

    @property
    def trial_id(self) -> str | None:
        """The trial's id."""
        return get_trial_id()
