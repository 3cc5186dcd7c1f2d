"""Synchronous HyperBand."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class HyperBandScheduler(LaterScheduler):
    """Not supported yet."""
