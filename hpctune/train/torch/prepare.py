"""What a training function in PyTorch calls: devices, and models and data for several processes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from hpctune.errors import UsageError
from hpctune.train.torch.config import import_torch
from hpctune.worker.ranks.session import current_rank
from hpctune.worker.ranks.world import World


def _world() -> World:
    rank = current_rank()
    return rank.world if rank is not None else World()


def get_devices() -> list[Any]:
    """The devices of this process: its share of the GPUs that are visible on its node, or the CPU."""
    torch = import_torch()
    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    world = _world()
    if visible == 0 or (current_rank() is not None and world.gpus == 0):
        return [torch.device("cpu")]
    count = max(1, int(world.gpus))
    if visible <= count:  # Slurm has given this process its own
        return [torch.device(f"cuda:{index}") for index in range(visible)]
    first = int(world.local_rank * world.gpus) if world.gpus < 1 else world.local_rank * count
    if first + count > visible:
        raise UsageError(f"Process {world.local_rank} of this node needs GPU {first}; {visible} are visible here.")
    return [torch.device(f"cuda:{index}") for index in range(first, first + count)]


def get_device() -> Any:
    """The first device of this process."""
    return get_devices()[0]


def prepare_model(
    model: Any,
    move_to_device: Any = True,
    parallel_strategy: str | None = "ddp",
    parallel_strategy_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Move the model to the device of this process, and make it parallel if there are several processes.

    Args:
        model: The model.
        move_to_device: Whether to move it; or the device.
        parallel_strategy: "ddp", "fsdp", or None: it is not made parallel.
        parallel_strategy_kwargs: Arguments for DistributedDataParallel or FullyShardedDataParallel.
    """
    if parallel_strategy not in ("ddp", "fsdp", None):
        raise UsageError(f"parallel_strategy={parallel_strategy!r}: valid are 'ddp', 'fsdp' and None.")
    torch = import_torch()
    device = get_device() if isinstance(move_to_device, bool) else torch.device(move_to_device)
    if move_to_device is not False:
        model = model.to(device)
    options = dict(parallel_strategy_kwargs or {})
    if parallel_strategy is None or _world().size == 1:
        return model
    if parallel_strategy == "fsdp":
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model, **options)
    if device.type == "cuda" and move_to_device is not False:
        options = {"device_ids": [device], "output_device": device, **options}
    return torch.nn.parallel.DistributedDataParallel(model, **options)


def prepare_data_loader(
    data_loader: Any, add_dist_sampler: bool = True, move_to_device: bool = True, auto_transfer: bool = True
) -> Any:
    """Give each process its part of the data, on its device. Call ``loader.sampler.set_epoch(epoch)`` in each epoch.

    Args:
        data_loader: A DataLoader.
        add_dist_sampler: Whether to split the data by a DistributedSampler, if there are several processes.
        move_to_device: Whether to move the batches to the device of this process.
        auto_transfer: Whether that may go on in the background (it does if ``pin_memory`` is set).
    """
    torch = import_torch()
    data = torch.utils.data
    splits = add_dist_sampler and _world().size > 1 and not isinstance(data_loader.dataset, data.IterableDataset)
    if splits and not isinstance(data_loader.sampler, data.DistributedSampler):
        data_loader = _split(data_loader)
    device = get_device()
    return _Moving(data_loader, device, auto_transfer) if move_to_device and device.type != "cpu" else data_loader


def _split(loader: Any) -> Any:
    """The same loader for the part of this process."""
    data, world = import_torch().utils.data, _world()
    if loader.batch_size is None or type(loader.batch_sampler) is not data.BatchSampler:
        raise UsageError(
            "prepare_data_loader cannot split a DataLoader with a batch_sampler of its own. Give it one that takes "
            "this process's part, and add_dist_sampler=False."
        )
    if type(loader.sampler) not in (data.SequentialSampler, data.RandomSampler):
        raise UsageError(
            f"prepare_data_loader cannot split a DataLoader with a {type(loader.sampler).__name__}. Give it one that "
            "takes this process's part, and add_dist_sampler=False."
        )
    sampler = data.DistributedSampler(
        loader.dataset,
        num_replicas=world.size,
        rank=world.rank,
        shuffle=isinstance(loader.sampler, data.RandomSampler),
        drop_last=loader.drop_last,
    )
    same = (
        *("batch_size", "num_workers", "collate_fn", "pin_memory", "drop_last", "timeout", "worker_init_fn"),
        *("multiprocessing_context", "generator", "prefetch_factor", "persistent_workers", "pin_memory_device"),
    )
    options = {name: getattr(loader, name) for name in same if getattr(loader, name, None) not in (None, "")}
    return data.DataLoader(loader.dataset, sampler=sampler, **options)


class _Moving:
    """A DataLoader whose batches are on a device."""

    def __init__(self, loader: Any, device: Any, in_background: bool) -> None:
        self._loader, self._device, self._in_background = loader, device, in_background

    def __iter__(self) -> Iterator[Any]:
        return map(self._moved, self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def _moved(self, batch: Any) -> Any:
        if hasattr(batch, "to"):
            try:
                return batch.to(self._device, non_blocking=self._in_background)
            except TypeError:
                return batch.to(self._device)
        if isinstance(batch, Mapping):
            return {key: self._moved(value) for key, value in batch.items()}
        if isinstance(batch, tuple) and hasattr(batch, "_fields"):
            return type(batch)(*map(self._moved, batch))
        if isinstance(batch, (list, tuple)):
            return type(batch)(map(self._moved, batch))
        return batch


def enable_reproducibility(seed: int = 0) -> None:
    """Seed Python, numpy and torch, and let torch use only algorithms that always give the same."""
    torch = import_torch()
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
