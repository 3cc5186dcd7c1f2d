"""Trainers: one training function in several processes for each trial, with the names of Ray Train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.train.backend import BackendConfig as BackendConfig
    from hpctune.train.data_parallel_trainer import (
        DataParallelTrainer as DataParallelTrainer,
        TrainingFailedError as TrainingFailedError,
    )
    from hpctune.train.public import (
        Checkpoint as Checkpoint,
        CheckpointConfig as CheckpointConfig,
        FailureConfig as FailureConfig,
        Result as Result,
        RunConfig as RunConfig,
        TrainContext as TrainContext,
        get_checkpoint as get_checkpoint,
        get_context as get_context,
        report as report,
    )
    from hpctune.train.scaling import ScalingConfig as ScalingConfig

_HOMES = {
    "backend": ("BackendConfig",),
    "data_parallel_trainer": ("DataParallelTrainer", "TrainingFailedError"),
    "public": (
        "Checkpoint",
        "CheckpointConfig",
        "FailureConfig",
        "Result",
        "RunConfig",
        "TrainContext",
        "get_checkpoint",
        "get_context",
        "report",
    ),
    "scaling": ("ScalingConfig",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
