"""``hpctune.logger.csv``."""

from hpctune.output.loggers.csv import CSVLoggerCallback

__all__ = ["CSVLoggerCallback"]
