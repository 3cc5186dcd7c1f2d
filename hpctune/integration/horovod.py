"""Horovod, whose last release does not build against current versions of PyTorch and TensorFlow."""

from __future__ import annotations

from typing import Any

from hpctune.errors import MissingPackageError


class DistributedTrainableCreator:
    """Raises MissingPackageError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise MissingPackageError(
            "DistributedTrainableCreator of horovod: Horovod's last release is of 2023 and does not build against "
            "current versions of PyTorch and TensorFlow. Use DistributedTrainableCreator of "
            "hpctune.integration.torch or hpctune.integration.tensorflow; hvd.DistributedOptimizer becomes "
            "torch.nn.parallel.DistributedDataParallel."
        )
