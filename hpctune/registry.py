"""``hpctune.registry``: names for trainables."""

from hpctune.launch.trainables import (
    as_trainable,
    register_env,
    register_trainable,
    requested_resources,
    trainable_name,
)
from hpctune.worker import is_class_trainable

__all__ = [
    "as_trainable",
    "is_class_trainable",
    "register_env",
    "register_trainable",
    "requested_resources",
    "trainable_name",
]
