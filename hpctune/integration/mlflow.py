"""MLflow. Not supported yet."""

from __future__ import annotations

from typing import Any

from hpctune.integration import LaterCallback, refuse


class MLflowLoggerCallback(LaterCallback):
    """Not supported yet."""

    package = "mlflow"


def setup_mlflow(*args: Any, **kwargs: Any) -> Any:
    """Not supported yet."""
    refuse("setup_mlflow", "Call mlflow.start_run() in the trainable yourself.")


def mlflow_mixin(func: Any) -> Any:
    """Not supported yet."""
    refuse("mlflow_mixin", "Call mlflow.start_run() in the trainable yourself.")
