"""The older name of :mod:`hpctune.search.hebo`."""

from hpctune.search.hebo import HEBOSearch

__all__ = ["HEBOSearch"]
