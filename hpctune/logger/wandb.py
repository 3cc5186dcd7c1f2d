"""``hpctune.logger.wandb``."""

from hpctune.integration.wandb import WandbLoggerCallback

__all__ = ["WandbLoggerCallback"]
