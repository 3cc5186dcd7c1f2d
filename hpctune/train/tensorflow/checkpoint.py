"""``TensorflowCheckpoint``, with the names of Ray Train."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar, Self

from hpctune.errors import UsageError
from hpctune.train.model_checkpoint import ModelCheckpoint


class TensorflowCheckpoint(ModelCheckpoint):
    """A checkpoint with a model of Keras: the file ``model.keras``, or what it was made from."""

    MODEL_FILENAME: ClassVar[str] = "model.keras"
    _H5: ClassVar[str] = "model.h5"
    _SAVED: ClassVar[str] = "saved_model"

    @classmethod
    def from_model(cls, model: Any, *, preprocessor: Any = None) -> Self:
        """One with a model as a whole."""
        return cls._with(lambda directory: model.save(directory / cls.MODEL_FILENAME), preprocessor)

    @classmethod
    def from_h5(cls, file_path: str | Path, *, preprocessor: Any = None) -> Self:
        """One with a copy of a file of ``model.save("x.h5")``."""
        source = Path(file_path)
        if not source.is_file():
            raise UsageError(f"There is no file {source}.")
        return cls._with(lambda directory: shutil.copy2(source, directory / cls._H5), preprocessor)

    @classmethod
    def from_saved_model(cls, dir_path: str | Path, *, preprocessor: Any = None) -> Self:
        """One with a copy of a directory in TensorFlow's format SavedModel."""
        source = Path(dir_path)
        if not source.is_dir():
            raise UsageError(f"There is no directory {source}.")
        return cls._with(lambda directory: shutil.copytree(source, directory / cls._SAVED), preprocessor)

    def get_model(self) -> Any:
        """The model; of a SavedModel what ``tf.saved_model.load`` gives.

        Raises CheckpointError if the checkpoint has none.
        """
        found = self._file(self.MODEL_FILENAME, self._H5, self._SAVED)
        if found.name == self._SAVED:
            import tensorflow

            return tensorflow.saved_model.load(str(found))
        import keras

        return keras.models.load_model(found)
