"""What runs inside a job, and what user code calls there. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpctune.worker.command import Command
    from hpctune.worker.context import (
        TuneContext,
        checkpoint_dir,
        get_checkpoint,
        get_context,
        get_trial_dir,
        get_trial_id,
        get_trial_name,
        get_trial_resources,
        is_session_enabled,
        report,
    )
    from hpctune.worker.parameters import (
        get_pinned_object,
        pin_in_object_store,
        resources_of,
        with_parameters,
        with_resources,
    )
    from hpctune.worker.runners import form_of, is_class_trainable
    from hpctune.worker.trainable import Trainable

_HOMES = {
    "command": ("Command",),
    "context": (
        "TuneContext",
        "checkpoint_dir",
        "get_checkpoint",
        "get_context",
        "get_trial_dir",
        "get_trial_id",
        "get_trial_name",
        "get_trial_resources",
        "is_session_enabled",
        "report",
    ),
    "parameters": ("get_pinned_object", "pin_in_object_store", "resources_of", "with_parameters", "with_resources"),
    "runners": ("form_of", "is_class_trainable"),
    "trainable": ("Trainable",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Command",
    "Trainable",
    "TuneContext",
    "checkpoint_dir",
    "form_of",
    "get_checkpoint",
    "get_context",
    "get_pinned_object",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "is_class_trainable",
    "is_session_enabled",
    "pin_in_object_store",
    "report",
    "resources_of",
    "with_parameters",
    "with_resources",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)  # the next time it is found at once
    return value
