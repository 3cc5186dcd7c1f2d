"""``hpctune.trainable.util``: what is attached to a trainable."""

from hpctune.worker.parameters import with_parameters, with_resources

__all__ = ["with_parameters", "with_resources"]
