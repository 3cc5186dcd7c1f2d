"""Configurations that are listed one by one: each is tried once, as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.search.adapters.points import checked_points
from hpctune.search.base import SearchAlgorithm
from hpctune.search.basic_variant import VariantPolicy
from hpctune.space.variants import listed


class ListedConfigurations(SearchAlgorithm):
    """Tries ``configurations`` in their order. One may lack parameters that others have: its trial does not have them.

    ``num_samples`` is their number. A constant of the search space takes the place of their values.

    Raises:
        UsageError: if there is none, or they are no list of dicts.
    """

    def __init__(self, configurations: list[dict[str, Any]]) -> None:
        self.configurations = checked_points(configurations)
        if not self.configurations:
            raise UsageError("ListedConfigurations needs at least one configuration.")

    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> VariantPolicy:
        """Return the policy that goes through the configurations. It heeds no metric."""
        return VariantPolicy(listed(space, self.configurations))
