"""``hpctune.logger.comet``."""

from hpctune.integration.comet import CometLoggerCallback

__all__ = ["CometLoggerCallback"]
