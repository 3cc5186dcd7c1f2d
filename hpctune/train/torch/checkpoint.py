"""``TorchCheckpoint``, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from hpctune.errors import UsageError
from hpctune.train.model_checkpoint import ModelCheckpoint
from hpctune.train.torch.config import import_torch


class TorchCheckpoint(ModelCheckpoint):
    """A checkpoint with a model of PyTorch in the file ``model.pt``."""

    MODEL_FILENAME: ClassVar[str] = "model.pt"

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any], *, preprocessor: Any = None) -> Self:
        """One with the parameters of a model: ``model.state_dict()``."""
        return cls._of(dict(state_dict), preprocessor)

    @classmethod
    def from_model(cls, model: Any, *, preprocessor: Any = None) -> Self:
        """One with a model as a whole. Its class must be importable where it is loaded."""
        return cls._of(getattr(model, "module", model) if _is_wrapped(model) else model, preprocessor)

    @classmethod
    def _of(cls, value: Any, preprocessor: Any) -> Self:
        return cls._with(lambda directory: import_torch().save(value, directory / cls.MODEL_FILENAME), preprocessor)

    def get_model(self, model: Any = None) -> Any:
        """The model. ``model``: one of the same shape, which gets the parameters of :meth:`from_state_dict`.

        Raises UsageError if it is needed and not given, CheckpointError if the checkpoint has no model.
        """
        torch = import_torch()
        saved = torch.load(self._file(self.MODEL_FILENAME), map_location="cpu", weights_only=False)
        if isinstance(saved, torch.nn.Module):
            return saved
        if model is None:
            raise UsageError("The checkpoint has the parameters of a model. Give the model too: get_model(Net()).")
        torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(saved, "module.")  # of a parallel model
        model.load_state_dict(saved)
        return model


def _is_wrapped(model: Any) -> bool:
    return isinstance(model, import_torch().nn.parallel.DistributedDataParallel)
