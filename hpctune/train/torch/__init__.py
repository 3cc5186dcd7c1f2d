"""``TorchTrainer`` and what a training function in PyTorch uses, with the names of Ray Train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.train.torch.checkpoint import TorchCheckpoint as TorchCheckpoint
    from hpctune.train.torch.config import TorchConfig as TorchConfig
    from hpctune.train.torch.prepare import (
        enable_reproducibility as enable_reproducibility,
        get_device as get_device,
        get_devices as get_devices,
        prepare_data_loader as prepare_data_loader,
        prepare_model as prepare_model,
    )
    from hpctune.train.torch.trainer import TorchTrainer as TorchTrainer

_HOMES = {
    "checkpoint": ("TorchCheckpoint",),
    "config": ("TorchConfig",),
    "prepare": ("enable_reproducibility", "get_device", "get_devices", "prepare_data_loader", "prepare_model"),
    "trainer": ("TorchTrainer",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
