"""``TorchTrainer``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpctune.errors import UsageError
from hpctune.train.data_parallel_trainer import DataParallelTrainer
from hpctune.train.torch.config import NO_GPU, TorchConfig


class TorchTrainer(DataParallelTrainer):
    """A :class:`DataParallelTrainer` whose processes form a process group of torch.distributed. In the function,
    ``prepare_model`` and ``prepare_data_loader`` make model and data parallel. ``torch_config``: the process group.
    The other arguments are those of DataParallelTrainer.
    """

    _backend = TorchConfig
    backend_config: TorchConfig

    def __init__(
        self, train_loop_per_worker: Callable[..., Any], *, torch_config: TorchConfig | None = None, **arguments: Any
    ) -> None:
        super().__init__(train_loop_per_worker, backend_config=torch_config, **arguments)
        stated = arguments.get("scaling_config") is not None  # else it may come with the search space
        if self.backend_config.backend == "nccl" and stated and not self.scaling_config.use_gpu:
            raise UsageError(NO_GPU)
