"""``hpctune.trainable.function_trainable``: functions as trainables."""

from hpctune.worker.parameters import BoundTrainable as FunctionTrainable, wrap_function
from hpctune.worker.status_reporter import StatusReporter

__all__ = ["FunctionTrainable", "StatusReporter", "wrap_function"]
