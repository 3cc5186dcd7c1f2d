"""The older name of :mod:`hpctune.search.zoopt`."""

from hpctune.search.zoopt import ZOOptSearch

__all__ = ["ZOOptSearch"]
