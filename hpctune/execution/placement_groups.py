"""``hpctune.execution.placement_groups``: the resources of a trial."""

from hpctune.model.resources import PlacementGroupFactory, resource_dict_to_pg_factory

__all__ = ["PlacementGroupFactory", "resource_dict_to_pg_factory"]
