"""Names of Ray Train that are also those of Ray Tune."""

from hpctune.analysis.result import Result as Result
from hpctune.checkpoint import Checkpoint as Checkpoint
from hpctune.run_config import (
    CheckpointConfig as CheckpointConfig,
    FailureConfig as FailureConfig,
    RunConfig as RunConfig,
)
from hpctune.worker.context import (
    TuneContext as TrainContext,
    get_checkpoint as get_checkpoint,
    get_context as get_context,
    report as report,
)

__all__ = [
    "Checkpoint",
    "CheckpointConfig",
    "FailureConfig",
    "Result",
    "RunConfig",
    "TrainContext",
    "get_checkpoint",
    "get_context",
    "report",
]
