"""Population based bandits."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class PB2(LaterScheduler):
    """Not supported yet."""
