"""The older name of :mod:`hpctune.search.repeater`."""

from hpctune.search.repeater import Repeater

__all__ = ["Repeater"]
