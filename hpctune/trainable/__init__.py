"""Ray Tune's module path for trainables."""

from hpctune.worker.parameters import with_parameters
from hpctune.worker.trainable import Trainable

__all__ = ["Trainable", "with_parameters"]
