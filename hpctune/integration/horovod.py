"""Horovod. Not supported yet."""

from __future__ import annotations

from hpctune.integration import Later

INSTEAD = "Ask for several tasks with a PlacementGroupFactory and start horovodrun with hpctune.Command."


class DistributedTrainableCreator(Later):
    """Not supported yet."""

    instead = INSTEAD
