"""``ModelCheckpoint``: the base of checkpoints that hold a framework's model, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from hpctune.checkpoint import Checkpoint
from hpctune.common import unpickling
from hpctune.errors import CheckpointError
from hpctune.storage import values
from hpctune.usercode.pickling import dump_value

_PREPROCESSOR = "preprocessor.pkl"


class ModelCheckpoint(Checkpoint):
    """A checkpoint with a model, and perhaps with what prepares its input.

    One that was reported is a plain Checkpoint. ``TorchCheckpoint.from_checkpoint(result.checkpoint)`` and the like
    make it one of these again.
    """

    @classmethod
    def _with(cls, save: Callable[[Path], object], preprocessor: Any = None) -> Self:
        """One in a new temporary directory, into which ``save`` writes the model."""
        made = cast("Self", cls._in_new_directory())
        directory = Path(made.path)
        save(directory)
        if preprocessor is not None:
            (directory / _PREPROCESSOR).write_bytes(dump_value(preprocessor))
        return made

    def get_preprocessor(self) -> Any:
        """The preprocessor that the checkpoint was made with; None if there was none."""
        path = Path(self.path) / _PREPROCESSOR
        return unpickling.loads(values.trusted_bytes(path)) if path.is_file() else None

    def _file(self, *names: str) -> Path:
        """The file or directory with the model: the first of ``names`` that is there. Raises CheckpointError."""
        found = next((path for name in names if (path := Path(self.path) / name).exists()), None)
        if found is None:
            raise CheckpointError(
                f"{self.path} has no {' and no '.join(names)}: it was not made by {type(self).__name__}. Read its "
                "files with checkpoint.as_directory()."
            )
        return found
