"""``hpctune.session``: what a running trial reports and asks."""

from typing import NoReturn

from hpctune.errors import NotYetSupportedError
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

__all__ = [
    "TuneContext",
    "checkpoint_dir",
    "get_checkpoint",
    "get_context",
    "get_experiment_name",
    "get_local_rank",
    "get_local_world_size",
    "get_node_rank",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "get_world_rank",
    "get_world_size",
    "is_session_enabled",
    "load_checkpoint",
    "report",
    "save_checkpoint",
]


def save_checkpoint(*_: object) -> NoReturn:
    """Of 1.0, and gone from Ray Tune: a checkpoint is a directory."""
    raise NotYetSupportedError("save_checkpoint() is gone. Write into the directory of tune.checkpoint_dir(step).")


def load_checkpoint(*_: object) -> NoReturn:
    """Of 1.0, and gone from Ray Tune: a checkpoint is a directory."""
    raise NotYetSupportedError("load_checkpoint() is gone. Read from checkpoint_dir=, or from get_checkpoint().")


def get_experiment_name() -> str | None:
    """The name of the experiment of the running trial."""
    return get_context().get_experiment_name()


def get_world_size() -> int:
    """The number of processes of the trial."""
    return get_context().get_world_size()


def get_world_rank() -> int:
    """The index of this process in the trial, from 0."""
    return get_context().get_world_rank()


def get_local_rank() -> int:
    """The index of this process on its node, from 0."""
    return get_context().get_local_rank()


def get_local_world_size() -> int:
    """The number of processes of the trial on this node."""
    return get_context().get_local_world_size()


def get_node_rank() -> int:
    """The index of this node in the trial, from 0."""
    return get_context().get_node_rank()
