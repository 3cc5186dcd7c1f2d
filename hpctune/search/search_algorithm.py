"""Ray Tune's module path for :class:`SearchAlgorithm`."""

from hpctune.search.base import SearchAlgorithm

__all__ = ["SearchAlgorithm"]
