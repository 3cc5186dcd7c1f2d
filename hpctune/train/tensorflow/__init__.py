"""``TensorflowTrainer``, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.run_config import RunConfig
from hpctune.train.backend import BackendConfig
from hpctune.train.data_parallel_trainer import DataParallelTrainer
from hpctune.train.scaling import ScalingConfig
from hpctune.worker.ranks.trainable import TIMEOUT_S


@dataclass
class TensorflowConfig(BackendConfig):
    """TF_CONFIG is set in each process; ``tf.distribute.MultiWorkerMirroredStrategy()`` reads it.

    ``timeout_s``: seconds that the processes wait for each other to report.
    """

    timeout_s: float = TIMEOUT_S


class TensorflowTrainer(DataParallelTrainer):
    """A :class:`DataParallelTrainer` for ``tf.distribute.MultiWorkerMirroredStrategy``, which the function makes."""

    _backend = TensorflowConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        tensorflow_config: TensorflowConfig | None = None,
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
            backend_config=tensorflow_config,
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            metadata=metadata,
            resume_from_checkpoint=resume_from_checkpoint,
        )


__all__ = ["TensorflowConfig", "TensorflowTrainer"]
