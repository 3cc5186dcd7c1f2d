"""``hpctune.logger.aim``."""

from hpctune.integration.aim import AimLoggerCallback

__all__ = ["AimLoggerCallback"]
