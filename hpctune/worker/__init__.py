"""The code that runs inside a job, and the functions that user code calls there. Imports are lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.worker.command import Command as Command
    from hpctune.worker.context import (
        TuneContext as TuneContext,
        checkpoint_dir as checkpoint_dir,
        get_checkpoint as get_checkpoint,
        get_context as get_context,
        get_trial_dir as get_trial_dir,
        get_trial_id as get_trial_id,
        get_trial_name as get_trial_name,
        get_trial_resources as get_trial_resources,
        is_session_enabled as is_session_enabled,
        report as report,
    )
    from hpctune.worker.parameters import (
        get_pinned_object as get_pinned_object,
        pin_in_object_store as pin_in_object_store,
        resources_of as resources_of,
        with_parameters as with_parameters,
        with_resources as with_resources,
    )
    from hpctune.worker.runners import (
        form_of as form_of,
        is_class_trainable as is_class_trainable,
    )
    from hpctune.worker.trainable import Trainable as Trainable

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
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
