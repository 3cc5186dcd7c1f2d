"""The older name of :mod:`hpctune.search.ax`."""

from hpctune.search.ax import AxSearch

__all__ = ["AxSearch"]
