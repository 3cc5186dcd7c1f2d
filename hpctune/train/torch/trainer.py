"""``TorchTrainer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.run_config import RunConfig
from hpctune.train.data_parallel_trainer import DataParallelTrainer
from hpctune.train.scaling import ScalingConfig
from hpctune.train.torch.config import TorchConfig


class TorchTrainer(DataParallelTrainer):
    """A :class:`DataParallelTrainer` whose processes form a process group of torch.distributed. In the function,
    ``prepare_model`` and ``prepare_data_loader`` make model and data parallel. ``torch_config``: the process group.
    """

    _backend = TorchConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        dataset_config: Any = None,
        datasets: Any = None,
        metadata: Any = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=torch_config,
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            metadata=metadata,
            resume_from_checkpoint=resume_from_checkpoint,
        )
