"""The older name of :mod:`hpctune.search.bohb`."""

from hpctune.search.bohb import TuneBOHB

__all__ = ["TuneBOHB"]
