"""Population based training."""

from __future__ import annotations

from hpctune.schedulers.later import LaterScheduler


class PopulationBasedTraining(LaterScheduler):
    """Not supported yet."""


class PopulationBasedTrainingReplay(LaterScheduler):
    """Not supported yet."""
