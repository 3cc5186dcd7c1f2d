"""The median stopping rule."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class MedianStoppingRule(LaterScheduler):
    """Not supported yet."""
