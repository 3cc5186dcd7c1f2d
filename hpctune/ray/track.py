"""``ray.tune.track`` of 0.x: what a training function reports, and which trial it is."""

from __future__ import annotations

from typing import Any

from hpctune.worker.context import (
    get_trial_dir as trial_dir,
    get_trial_id as trial_id,
    get_trial_name as trial_name,
    report,
)

__all__ = ["init", "log", "shutdown", "trial_dir", "trial_id", "trial_name"]


def log(**metrics: Any) -> None:
    """Report these metrics."""
    report(metrics)


def init(*_: Any, **__: Any) -> None:
    """Nothing: a trial may report from its beginning."""


def shutdown() -> None:
    """Nothing: a trial ends with its function."""
