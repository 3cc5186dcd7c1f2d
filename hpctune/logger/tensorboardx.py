"""``hpctune.logger.tensorboardx``."""

from hpctune.output.loggers.tensorboard import TBXLoggerCallback

__all__ = ["TBXLoggerCallback"]
