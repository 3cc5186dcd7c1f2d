"""Trials of several processes with torch.distributed, with the names of Ray Tune 1.x."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from hpctune.errors import UsageError
from hpctune.integration.distributed import distributed_trainable
from hpctune.train.torch.config import TorchConfig
from hpctune.worker.context import checkpoint_dir
from hpctune.worker.ranks.session import current_rank
from hpctune.worker.ranks.trainable import TIMEOUT_S, DistributedTrainable


def DistributedTrainableCreator(  # noqa: N802
    func: Callable[..., Any],
    num_workers: int = 1,
    num_cpus_per_worker: float = 1,
    num_gpus_per_worker: float = 0,
    num_workers_per_host: int | None = None,
    backend: str = "gloo",
    timeout_s: float = TIMEOUT_S,
    use_gpu: bool | None = None,
) -> DistributedTrainable:
    """A trainable that runs ``func`` in ``num_workers`` processes, which form a process group of torch.distributed.

    Only the reports and checkpoints of rank 0 count.

    Args:
        func: A function trainable.
        num_workers: How many processes each trial has.
        num_cpus_per_worker: CPUs of each.
        num_gpus_per_worker: GPUs of each.
        num_workers_per_host: So many on each of as many nodes as it takes. None: anywhere.
        backend: "gloo", or "nccl" for GPUs.
        timeout_s: Seconds that the processes wait for each other.
        use_gpu: The old name for one GPU for each process.

    Raises:
        UsageError: for impossible numbers.
    """
    if use_gpu and not num_gpus_per_worker:
        num_gpus_per_worker = 1
    if use_gpu is False and num_gpus_per_worker:
        raise UsageError(f"use_gpu=False and num_gpus_per_worker={num_gpus_per_worker} exclude each other.")
    if backend == "nccl" and not num_gpus_per_worker:
        raise UsageError("backend='nccl' needs GPUs: give num_gpus_per_worker=1, or backend='gloo'.")
    return distributed_trainable(
        func,
        TorchConfig(backend),
        workers=num_workers,
        cpus=num_cpus_per_worker,
        gpus=num_gpus_per_worker,
        per_host=num_workers_per_host,
        timeout_s=timeout_s,
    )


@contextlib.contextmanager
def distributed_checkpoint_dir(step: int, disable: bool = False) -> Iterator[str]:
    """Yield a directory for a checkpoint, which rank 0's next report saves.

    What other ranks write is dropped; with ``disable`` that of rank 0 as well.
    """
    rank = current_rank()
    if disable or (rank is not None and rank.world.rank != 0):
        with tempfile.TemporaryDirectory(prefix="hpctune-dropped-") as directory:
            yield directory
        return
    with checkpoint_dir(step) as directory:
        yield directory


def is_distributed_trainable() -> bool:
    """Whether this process is one of a distributed trial."""
    return current_rank() is not None
