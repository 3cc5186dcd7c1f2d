"""Trials of several processes with TensorFlow, with the names of Ray Tune 1.x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpctune.integration.distributed import distributed_trainable
from hpctune.train.tensorflow import TensorflowConfig
from hpctune.worker.ranks.trainable import DistributedTrainable


def DistributedTrainableCreator(  # noqa: N802
    func: Callable[..., Any],
    num_workers: int = 2,
    num_gpus_per_worker: float = 0,
    num_cpus_per_worker: float = 1,
    num_workers_per_host: int | None = None,
    timeout_s: float = 15 * 60,
) -> DistributedTrainable:
    """A trainable that runs ``func`` in ``num_workers`` processes with TF_CONFIG set, which
    ``tf.distribute.MultiWorkerMirroredStrategy()`` reads.

    Only the reports and checkpoints of rank 0 count.

    Args:
        func: A function trainable.
        num_workers: How many processes each trial has.
        num_gpus_per_worker: GPUs of each.
        num_cpus_per_worker: CPUs of each.
        num_workers_per_host: So many on each of as many nodes as it takes. None: anywhere.
        timeout_s: Seconds that the processes wait for each other.

    Raises:
        UsageError: for impossible numbers.
    """
    return distributed_trainable(
        func,
        TensorflowConfig(),
        workers=num_workers,
        cpus=num_cpus_per_worker,
        gpus=num_gpus_per_worker,
        per_host=num_workers_per_host,
        timeout_s=timeout_s,
    )
