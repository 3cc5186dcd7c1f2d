"""What is done to a class trainable from outside. Functions, so that a user's class may have methods of any name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.errors import CheckpointError, StorageError, TrainableError
from hpctune.storage import atomic, values

if TYPE_CHECKING:
    from hpctune.worker.trainable import Trainable

SAVED = "checkpoint_dict.pkl"
"""Holds the dict that ``save_checkpoint`` returned, or which path in the checkpoint it named."""


def step(trainable: Trainable) -> dict[str, Any]:
    """One step, checked: the user's part of a result."""
    result = trainable.step()
    if not isinstance(result, Mapping):
        raise TrainableError(f"{type(trainable).__name__}.step() must return a dict of results, not {result!r}.")
    row = dict(result)
    trainable.log_result(row)
    return row


def write(trainable: Trainable, directory: Path) -> None:
    """Let ``save_checkpoint`` fill ``directory``."""
    saved = trainable.save_checkpoint(str(directory))
    if saved is None:
        return
    if isinstance(saved, Mapping):
        _write_note(directory, {"data": dict(saved)})
        return
    path = directory / str(saved)
    if not path.exists() or not path.resolve().is_relative_to(directory.resolve()):
        raise CheckpointError(f"save_checkpoint returned {saved!r}, which is not in {directory}.")
    if path.resolve() != directory.resolve():
        _write_note(directory, {"path": str(path.resolve().relative_to(directory.resolve()))})


def read(trainable: Trainable, directory: Path) -> None:
    """Give ``load_checkpoint`` what ``save_checkpoint`` made."""
    note = directory / SAVED
    if not note.is_file():
        trainable.load_checkpoint(str(directory))
        return
    content = pickle.loads(values.trusted_bytes(note))
    trainable.load_checkpoint(content["data"] if "data" in content else str(directory / content["path"]))


def _write_note(directory: Path, content: Mapping[str, Any]) -> None:
    import cloudpickle

    try:
        atomic.write(directory / SAVED, cloudpickle.dumps(content))
    except StorageError as error:
        raise CheckpointError(f"Cannot save a checkpoint in {directory}: {error}") from error
