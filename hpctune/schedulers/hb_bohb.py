"""HyperBand for BOHB."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class HyperBandForBOHB(LaterScheduler):
    """Not supported yet."""
