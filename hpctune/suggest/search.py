"""The older name of :mod:`hpctune.search.search_algorithm`."""

from hpctune.search.search_algorithm import SearchAlgorithm

__all__ = ["SearchAlgorithm"]
