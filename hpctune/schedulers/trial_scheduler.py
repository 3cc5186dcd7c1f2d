"""The base of schedulers of one's own, under the name that Ray Tune gives it."""

from __future__ import annotations

from hpctune.schedulers.base import FIFOScheduler

__all__ = ["FIFOScheduler", "TrialScheduler"]


class TrialScheduler(FIFOScheduler):
    """Derive from it, or from FIFOScheduler, to write a scheduler. The default is first come, first served."""
