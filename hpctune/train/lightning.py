"""What the function of a TorchTrainer gives to Lightning's Trainer, with the names of Ray Train."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hpctune.errors import UsageError
from hpctune.integration.pytorch_lightning import TuneReportCheckpointCallback, lightning
from hpctune.train.torch.prepare import get_device
from hpctune.worker.context import get_context

_environments = import_module(f"{lightning.__name__}.plugins.environments")
_strategies = import_module(f"{lightning.__name__}.strategies")


class RayLightningEnvironment(_environments.LightningEnvironment):  # type: ignore[misc, name-defined]
    """Tells Lightning's Trainer which of the trial's processes this is: ``Trainer(plugins=[...])``."""

    @property
    def creates_processes_externally(self) -> bool:
        return True

    def world_size(self) -> int:
        return get_context().get_world_size()

    def global_rank(self) -> int:
        return get_context().get_world_rank()

    def local_rank(self) -> int:
        return get_context().get_local_rank()

    def node_rank(self) -> int:
        return get_context().get_node_rank()

    def set_world_size(self, size: int) -> None:
        """Nothing: Lightning counts the devices of this process alone."""

    def set_global_rank(self, rank: int) -> None:
        """Nothing, for the same reason."""

    def teardown(self) -> None:
        """Nothing: the process group is the trial's."""


class _OneDevice:
    """A strategy of which each process has the device, and the part of the data, that it has in the trial."""

    @property
    def root_device(self) -> Any:
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, int]:
        return {"num_replicas": get_context().get_world_size(), "rank": get_context().get_world_rank()}


class RayDDPStrategy(_OneDevice, _strategies.DDPStrategy):  # type: ignore[misc, name-defined]
    """``Trainer(strategy=RayDDPStrategy())``: DistributedDataParallel over the trial's processes."""


class RayFSDPStrategy(_OneDevice, _strategies.FSDPStrategy):  # type: ignore[misc, name-defined]
    """``Trainer(strategy=RayFSDPStrategy())``: FullyShardedDataParallel over the trial's processes."""


class RayDeepSpeedStrategy(_OneDevice, _strategies.DeepSpeedStrategy):  # type: ignore[misc, name-defined]
    """``Trainer(strategy=RayDeepSpeedStrategy())``: DeepSpeed over the trial's processes; it needs its package."""


class RayTrainReportCallback(TuneReportCheckpointCallback):
    """Reports all metrics, ``epoch`` and ``step`` at the end of each training epoch, with a checkpoint of Lightning's.

    ``trainer.fit(ckpt_path=...)`` takes its file ``checkpoint.ckpt``.
    """

    CHECKPOINT_NAME = "checkpoint.ckpt"

    def __init__(self) -> None:
        super().__init__(filename=self.CHECKPOINT_NAME, on="train_epoch_end")

    def _get_report_dict(self, trainer: Any, pl_module: Any) -> dict[str, Any] | None:
        found = super()._get_report_dict(trainer, pl_module)
        return None if found is None else {**found, "epoch": trainer.current_epoch, "step": trainer.global_step}


def prepare_trainer(trainer: Any) -> Any:
    """Lightning's Trainer as it is. Raises UsageError if it does not have all processes of the trial."""
    size = get_context().get_world_size()
    if trainer.world_size != size:
        raise UsageError(
            f"The trial has {size} processes, and Lightning's Trainer {trainer.world_size}. Give it "
            "strategy=RayDDPStrategy() and plugins=[RayLightningEnvironment()]."
        )
    return trainer
