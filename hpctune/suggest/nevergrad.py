"""The older name of :mod:`hpctune.search.nevergrad`."""

from hpctune.search.nevergrad import NevergradSearch

__all__ = ["NevergradSearch"]
