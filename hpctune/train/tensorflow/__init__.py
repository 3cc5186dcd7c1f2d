"""``TensorflowTrainer``, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpctune.train.backend import BackendConfig
from hpctune.train.data_parallel_trainer import DataParallelTrainer
from hpctune.train.tensorflow.checkpoint import TensorflowCheckpoint as TensorflowCheckpoint
from hpctune.worker.ranks.trainable import TIMEOUT_S


@dataclass
class TensorflowConfig(BackendConfig):
    """TF_CONFIG is set in each process; ``tf.distribute.MultiWorkerMirroredStrategy()`` reads it.

    ``timeout_s``: seconds that the processes wait for each other to report.
    """

    timeout_s: float = TIMEOUT_S


class TensorflowTrainer(DataParallelTrainer):
    """A :class:`DataParallelTrainer` for ``tf.distribute.MultiWorkerMirroredStrategy``, which the function makes.

    The arguments besides ``tensorflow_config`` are those of DataParallelTrainer.
    """

    _backend = TensorflowConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        tensorflow_config: TensorflowConfig | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(train_loop_per_worker, backend_config=tensorflow_config, **arguments)


__all__ = ["TensorflowCheckpoint", "TensorflowConfig", "TensorflowTrainer"]
