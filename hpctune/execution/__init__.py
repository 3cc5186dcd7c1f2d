"""``hpctune.execution``: the resources of a trial."""

from hpctune.model.resources import PlacementGroupFactory

__all__ = ["PlacementGroupFactory"]
