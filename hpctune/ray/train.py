"""``ray.train`` and ``ray.air``, as far as tuning uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.analysis.result import Result
from hpctune.checkpoint import Checkpoint
from hpctune.errors import TuneError, UsageError
from hpctune.model.resources import PlacementGroupFactory
from hpctune.output.callback import Callback
from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
from hpctune.syncer import SyncConfig
from hpctune.worker.context import TuneContext, get_checkpoint, get_context, report

TrainContext = TuneContext
TRAIN_DATASET_KEY, EVALUATION_DATASET_KEY, MODEL_KEY, PREPROCESSOR_KEY = "train", "evaluation", "model", "_preprocessor"


class TrainingFailedError(TuneError):
    """A training failed."""


class SessionMisuseError(UsageError):
    """A function of a trial was called outside one."""


class UserCallback(Callback):
    """Base of callbacks of Ray Train. ``after_report``, ``after_exception`` and the like are for trainers, which are
    not here; the hooks of :class:`hpctune.Callback` are called."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = [name for name in ("after_report", "after_exception", "after_validation") if name in vars(cls)]
        if own:
            raise UsageError(
                f"{cls.__name__}.{own[0]} is called by the trainers of Ray Train, which are not here. In a "
                "tune.Callback, use on_trial_result and on_trial_error."
            )


@dataclass
class ScalingConfig:
    """The processes of one trial and their resources; ``tune.with_resources(train, ScalingConfig(...))``."""

    trainer_resources: Any = None
    num_workers: Any = 1
    use_gpu: Any = False
    resources_per_worker: Any = None
    placement_strategy: Any = "PACK"
    accelerator_type: str | None = None

    def __post_init__(self) -> None:
        if self.accelerator_type is not None:
            raise UsageError(
                f"ScalingConfig(accelerator_type={self.accelerator_type!r}): the kind of GPU is a Slurm option: "
                "SlurmOptions(gpu_type=...), or --gpu-type of hpctune run."
            )
        per_worker = self.resources_per_worker
        if not self.use_gpu and isinstance(per_worker, Mapping) and per_worker.get("GPU", 0) > 0:
            raise UsageError("ScalingConfig: resources_per_worker asks for a GPU, and use_gpu is False.")

    @property
    def num_cpus_per_worker(self) -> float:
        """CPUs of one process."""
        return float(self._per_worker.get("CPU", 0))

    @property
    def num_gpus_per_worker(self) -> float:
        """GPUs of one process."""
        return float(self._per_worker.get("GPU", 0))

    @property
    def additional_resources_per_worker(self) -> dict[str, float]:
        """Other resources of one process."""
        return {name: amount for name, amount in self._per_worker.items() if name not in ("CPU", "GPU")}

    @property
    def total_resources(self) -> dict[str, float]:
        """The sum over all bundles."""
        total: dict[str, float] = {}
        for bundle in self.as_placement_group_factory().bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    @property
    def _per_worker(self) -> dict[str, float]:
        given = {} if self.resources_per_worker is None else dict(self.resources_per_worker)
        if self.resources_per_worker is None:
            given["CPU"] = 1
        if self.use_gpu:
            given.setdefault("GPU", 1)
        return {name: amount for name, amount in given.items() if amount}

    def as_placement_group_factory(self) -> PlacementGroupFactory:
        """One bundle for each process, after that of the trainer."""
        trainer = {"CPU": 1} if self.trainer_resources is None else dict(self.trainer_resources)
        trainer = {name: amount for name, amount in trainer.items() if amount}
        workers = [self._per_worker for _ in range(self.num_workers or 0)]
        bundles = [*([trainer] if trainer else []), *workers]
        return PlacementGroupFactory(bundles or [{"CPU": 1}], self.placement_strategy)

    @classmethod
    def from_placement_group_factory(cls, pgf: PlacementGroupFactory) -> ScalingConfig:
        """The inverse: the first bundle is the trainer's."""
        first, *workers = pgf.bundles
        per_worker = dict(workers[0]) if workers else {}
        return cls(
            trainer_resources=dict(first),
            num_workers=len(workers),
            use_gpu=per_worker.get("GPU", 0) > 0,
            resources_per_worker=per_worker or None,
            placement_strategy=pgf.strategy,
        )


__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "FailureConfig",
    "Result",
    "RunConfig",
    "ScalingConfig",
    "SessionMisuseError",
    "SyncConfig",
    "TrainContext",
    "TrainingFailedError",
    "UserCallback",
    "get_checkpoint",
    "get_context",
    "report",
]
