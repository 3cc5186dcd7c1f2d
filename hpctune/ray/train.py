"""``ray.train`` and ``ray.air``, as far as tuning uses them."""

from __future__ import annotations

from typing import Any

from hpctune.analysis.result import Result
from hpctune.checkpoint import Checkpoint
from hpctune.errors import UsageError
from hpctune.output.callback import Callback
from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
from hpctune.syncer import SyncConfig
from hpctune.train.backend import BackendConfig
from hpctune.train.data_parallel_trainer import TrainingFailedError
from hpctune.train.scaling import ScalingConfig
from hpctune.worker.context import TuneContext, get_checkpoint, get_context, report

TrainContext = TuneContext
TRAIN_DATASET_KEY, EVALUATION_DATASET_KEY, MODEL_KEY, PREPROCESSOR_KEY = "train", "evaluation", "model", "_preprocessor"


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


__all__ = [
    "BackendConfig",
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
