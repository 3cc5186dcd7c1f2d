"""The base of schedulers of one's own, in the words of Ray Tune."""

from __future__ import annotations

from hpctune.schedulers.base import FIFOScheduler
from hpctune.schedulers.later import LaterScheduler

__all__ = ["FIFOScheduler", "TrialScheduler"]


class TrialScheduler(LaterScheduler):
    """Not supported yet: derive from :class:`hpctune.schedulers.FIFOScheduler` and return Decisions."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"
    NOOP = "NOOP"
