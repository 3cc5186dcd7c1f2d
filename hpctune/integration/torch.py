"""Distributed PyTorch. Not supported yet."""

from __future__ import annotations

from typing import Any

from hpctune.integration import Later, refuse

INSTEAD = "Ask for several tasks with a PlacementGroupFactory and start torchrun with hpctune.Command."


class DistributedTrainableCreator(Later):
    """Not supported yet."""

    instead = INSTEAD


def distributed_checkpoint_dir(*args: Any, **kwargs: Any) -> Any:
    """Not supported yet."""
    refuse("distributed_checkpoint_dir", INSTEAD)


def is_distributed_trainable(*args: Any, **kwargs: Any) -> Any:
    """Not supported yet."""
    refuse("is_distributed_trainable", INSTEAD)
