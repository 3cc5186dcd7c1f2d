"""``hpctune.trainable.function_trainable``: functions as trainables."""

from hpctune.worker.parameters import BoundTrainable as FunctionTrainable, wrap_function

__all__ = ["FunctionTrainable", "wrap_function"]
