"""``hpctune.utils.callback``: the loggers that are used without being asked for."""

from hpctune.output.defaults import DEFAULT_LOGGERS as DEFAULT_CALLBACK_CLASSES

__all__ = ["DEFAULT_CALLBACK_CLASSES"]
