"""Weights & Biases. Not supported yet."""

from __future__ import annotations

from typing import Any

from hpctune.integration import LaterCallback, refuse


class WandbLoggerCallback(LaterCallback):
    """Not supported yet."""

    package = "wandb"


def setup_wandb(*args: Any, **kwargs: Any) -> Any:
    """Not supported yet."""
    refuse("setup_wandb", "Call wandb.init() in the trainable yourself.")


def wandb_mixin(func: Any) -> Any:
    """Not supported yet."""
    refuse("wandb_mixin", "Call wandb.init() in the trainable yourself.")
