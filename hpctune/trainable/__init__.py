"""``hpctune.trainable``: what may be tuned."""

from hpctune.worker.command import Command
from hpctune.worker.parameters import (
    BoundTrainable as FunctionTrainable,
    with_parameters,
    with_resources,
    wrap_function,
)
from hpctune.worker.trainable import Trainable

__all__ = ["Command", "FunctionTrainable", "Trainable", "with_parameters", "with_resources", "wrap_function"]
