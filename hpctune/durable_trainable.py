"""``hpctune.durable_trainable``: of 1.x. Every trainable's checkpoints are on the shared filesystem."""

from __future__ import annotations

from typing import Any

from hpctune.launch.trainables import as_trainable
from hpctune.worker.trainable import Trainable

DurableTrainable = Trainable


def durable(trainable: Any) -> Any:
    """The trainable as it is."""
    return as_trainable(trainable)


__all__ = ["DurableTrainable", "durable"]
