"""``driver.json``: the driver's status for commands that only read. It may be old or missing; nothing depends on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from hpctune.errors import StorageError
from hpctune.ports import CallStats
from hpctune.storage import atomic, values
from hpctune.storage.layout import ExperimentPaths

STATUS_INTERVAL_S = 5.0
"""Seconds between two writes."""


@dataclass(frozen=True, slots=True)
class DriverStatus:
    """The status of a driver.

    ``updated_at``: Unix seconds on the driver's clock. ``note``: an outage or warning, as text. ``calls``: calls of the
    cluster's commands by this driver. ``workers``: a summary of the workers ("" if there are none). ``queue``: a
    summary of the queue waits ("" if none are known).
    """

    cluster: str
    updated_at: float
    note: str
    calls: CallStats
    workers: str = ""
    queue: str = ""

    def write(self, paths: ExperimentPaths) -> None:
        """Write ``driver.json``."""
        atomic.write(paths.driver_status, values.dumps(asdict(self)) + "\n")


def read(paths: ExperimentPaths) -> DriverStatus | None:
    """The newest status; None if there is none or it cannot be read."""
    try:
        data: dict[str, Any] = json.loads(paths.driver_status.read_bytes())
        words = (data.get("workers", ""), data.get("queue", ""))
        return DriverStatus(data["cluster"], data["updated_at"], data["note"], CallStats(**data["calls"]), *words)
    except (OSError, ValueError, KeyError, TypeError, StorageError):
        return None
