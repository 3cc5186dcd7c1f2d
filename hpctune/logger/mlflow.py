"""``hpctune.logger.mlflow``."""

from hpctune.integration.mlflow import MLflowLoggerCallback

__all__ = ["MLflowLoggerCallback"]
