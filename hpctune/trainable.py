"""``hpctune.trainable``: what may be tuned."""

from hpctune.worker import Command, Trainable, with_parameters, with_resources

__all__ = ["Command", "Trainable", "with_parameters", "with_resources"]
