"""``hpctune.trainable.trainable``: the base class."""

from hpctune.worker.trainable import Trainable

__all__ = ["Trainable"]
