"""``hpctune.error``: the exceptions, under Ray Tune's module name."""

from hpctune.errors import (
    CheckpointError,
    ClusterError,
    MetricError,
    NotYetSupportedError,
    ResumeError,
    SearchSpaceError,
    StorageError,
    TrainableError,
    TuneError,
    UsageError,
)

__all__ = [
    "CheckpointError",
    "ClusterError",
    "MetricError",
    "NotYetSupportedError",
    "ResumeError",
    "SearchSpaceError",
    "StorageError",
    "TrainableError",
    "TuneError",
    "UsageError",
]
