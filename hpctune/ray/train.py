"""``ray.train`` and ``ray.air``, as far as tuning uses them."""

from __future__ import annotations

from typing import Any

from hpctune.analysis.result import Result
from hpctune.checkpoint import Checkpoint
from hpctune.errors import UsageError
from hpctune.output.callback import Callback, Trials
from hpctune.result import AUTO_RESULT_KEYS
from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
from hpctune.syncer import SyncConfig
from hpctune.train.backend import BackendConfig
from hpctune.train.data_parallel_trainer import TrainingFailedError
from hpctune.train.scaling import ScalingConfig
from hpctune.trial import Trial
from hpctune.worker.context import TuneContext, get_checkpoint, get_context, report

TrainContext = TuneContext
TRAIN_DATASET_KEY, EVALUATION_DATASET_KEY, MODEL_KEY, PREPROCESSOR_KEY = "train", "evaluation", "model", "_preprocessor"
_OURS = frozenset({*AUTO_RESULT_KEYS, "config"})
"""Keys of a result that were not reported."""


class SessionMisuseError(UsageError):
    """A function of a trial was called outside one."""


class UserCallback(Callback):
    """Base of callbacks of Ray Train, for ``RunConfig(callbacks=[...])`` of a trainer: override :meth:`after_report`.
    The hooks of :class:`hpctune.Callback` are called, too; there are no ``after_exception`` and ``after_validation``.
    """

    _newest: str | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = [name for name in ("after_exception", "after_validation") if name in vars(cls)]
        if own:
            raise UsageError(f"{cls.__name__}.{own[0]} is not called here. Override on_trial_error of tune.Callback.")

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None, **more: Any
    ) -> None:
        """All processes have reported.

        Args:
            run_context: The running trial, a :class:`hpctune.Trial`.
            metrics: A list with the metrics of the first process.
            checkpoint: The checkpoint that was reported with them.
        """

    def on_trial_result(
        self, iteration: int, trials: Trials, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        there = trial.checkpoint
        new = there if there is not None and there.path != self._newest else None
        self._newest = there.path if there is not None else None
        reported = {name: value for name, value in result.items() if name not in _OURS}
        self.after_report(trial, [reported], new)


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
