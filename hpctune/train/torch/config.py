"""``TorchConfig``: torch.distributed in each process of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hpctune.common.checks import is_number
from hpctune.common.packages import load
from hpctune.errors import UsageError
from hpctune.train.backend import BackendConfig, World
from hpctune.worker.ranks.trainable import TIMEOUT_S

NO_GPU = (
    "TorchConfig(backend='nccl') needs GPUs: give ScalingConfig(use_gpu=True), or backend='gloo'. Without backend= it "
    "is nccl with GPUs, else gloo."
)


def import_torch() -> Any:
    """The package torch. Raises MissingPackageError."""
    return load("torch", "", "torch", "A distributed trial of torch")


@dataclass
class TorchConfig(BackendConfig):
    """The process group of torch.

    ``backend``: "gloo", "nccl" or another that torch has; None: nccl if the processes have GPUs, else gloo.
    ``init_method``: "env" or "tcp". ``timeout_s``: seconds that the processes wait for each other.
    """

    backend: str | None = None
    init_method: str = "env"
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if self.init_method not in ("env", "tcp"):
            raise UsageError(f"TorchConfig(init_method={self.init_method!r}): valid are 'env' and 'tcp'.")
        if self.backend is not None and (not isinstance(self.backend, str) or not self.backend):
            raise UsageError(f"TorchConfig(backend={self.backend!r}) must be a name such as 'gloo' or 'nccl'.")
        if not is_number(self.timeout_s) or self.timeout_s <= 0:
            raise UsageError(f"TorchConfig(timeout_s={self.timeout_s!r}) must be a number of seconds above 0.")

    def start(self, world: World, timeout_s: float) -> None:
        """Join the process group, on the GPU of this process."""
        torch = import_torch()
        from hpctune.train.torch.prepare import get_device

        device = get_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        elif self.backend == "nccl":
            raise UsageError(NO_GPU)
        torch.distributed.init_process_group(
            self.backend or ("nccl" if world.gpus else "gloo"),
            init_method="env://" if self.init_method == "env" else f"tcp://{world.addresses[0]}",
            rank=world.rank,
            world_size=world.size,
            timeout=timedelta(seconds=timeout_s),
        )

    def stop(self) -> None:
        """Leave the process group."""
        distributed = import_torch().distributed
        if distributed.is_initialized():
            distributed.destroy_process_group()
