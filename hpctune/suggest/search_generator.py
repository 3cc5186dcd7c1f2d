"""The older name of :mod:`hpctune.search.search_generator`."""

from hpctune.search.search_generator import SearchGenerator

__all__ = ["SearchGenerator"]
