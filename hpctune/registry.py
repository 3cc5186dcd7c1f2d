"""``hpctune.registry``: names for trainables."""

from hpctune.launch.trainables import (
    as_trainable,
    get_trainable_cls,
    is_function_trainable,
    register_env,
    register_trainable,
    requested_resources,
    trainable_name,
    validate_trainable,
)
from hpctune.worker import is_class_trainable

__all__ = [
    "as_trainable",
    "get_trainable_cls",
    "is_class_trainable",
    "is_function_trainable",
    "register_env",
    "register_trainable",
    "requested_resources",
    "trainable_name",
    "validate_trainable",
]
