"""``TorchTrainer``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpctune.train.data_parallel_trainer import DataParallelTrainer
from hpctune.train.torch.config import TorchConfig


class TorchTrainer(DataParallelTrainer):
    """A :class:`DataParallelTrainer` whose processes form a process group of torch.distributed. In the function,
    ``prepare_model`` and ``prepare_data_loader`` make model and data parallel. ``torch_config``: the process group.
    The other arguments are those of DataParallelTrainer.
    """

    _backend = TorchConfig

    def __init__(
        self, train_loop_per_worker: Callable[..., Any], *, torch_config: TorchConfig | None = None, **arguments: Any
    ) -> None:
        super().__init__(train_loop_per_worker, backend_config=torch_config, **arguments)
