"""The fields that every result has without the user's doing, counted over all runs of a trial."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hpctune.storage.checkpoints import Progress

COUNTED_BY_USER = frozenset({"timesteps_this_iter", "episodes_this_iter", "timesteps_total", "episodes_total"})


class Counters:
    """Counts iterations, times (seconds), timesteps and episodes, going on from ``start``."""

    def __init__(self, start: Progress) -> None:
        self.start = start
        self.iteration = start.iteration
        self._timesteps, self._episodes = start.timesteps_total, start.episodes_total
        self._began = self._last = time.monotonic()
        self._steps_here = 0

    def progress(self) -> Progress:
        """Where the trial is: what a checkpoint must remember."""
        total = self.start.time_total_s + self._last - self._began
        return Progress(self.iteration, total, self._timesteps, self._episodes)

    def next_fields(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Count one result and return its fields."""
        now = time.monotonic()
        this, self._last = now - self._last, now
        self.iteration += 1
        self._timesteps = _counted(metrics, "timesteps", self._timesteps)
        self._episodes = _counted(metrics, "episodes", self._episodes)
        wall = time.time()
        steps_before = self.start.timesteps_total or 0
        return {
            "training_iteration": self.iteration,
            "iterations_since_restore": self.iteration - self.start.iteration,
            "time_this_iter_s": this,
            "time_total_s": self.start.time_total_s + now - self._began,
            "time_since_restore": now - self._began,
            "timesteps_total": self._timesteps,
            "timesteps_since_restore": 0 if self._timesteps is None else self._timesteps - steps_before,
            "episodes_total": self._episodes,
            "timestamp": int(wall),
            "date": datetime.fromtimestamp(wall).strftime("%Y-%m-%d_%H-%M-%S"),
        }


def _counted(metrics: Mapping[str, Any], what: str, before: int | None) -> int | None:
    total = metrics.get(f"{what}_total")
    if total is not None:
        return int(total)
    this = metrics.get(f"{what}_this_iter")
    return before if this is None else (before or 0) + int(this)


def node_ip() -> str:
    """This node's address, found without asking a name server."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.255.255.255", 1))  # sends nothing: it only chooses an interface
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
