"""``hpctune.logger.json``."""

from hpctune.output.loggers.json import JsonLoggerCallback

__all__ = ["JsonLoggerCallback"]
