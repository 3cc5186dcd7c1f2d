"""The automatic fields of each result (iterations, times, counts), summed over all runs of a trial."""

from __future__ import annotations

import copy
import functools
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hpctune.storage.checkpoints import Progress


class Counters:
    """Counts iterations, times (seconds), timesteps and episodes, starting from ``start``.

    Values in the result take precedence: ``timesteps_total``, ``timesteps_this_iter`` (and ``episodes_``),
    ``time_this_iter_s``, and a ``training_iteration`` that is greater than the count.
    """

    def __init__(self, start: Progress) -> None:
        self.start = start
        self.iteration = start.iteration
        self._timesteps, self._episodes = start.timesteps_total, start.episodes_total
        self._here_s = 0.0
        self._last = time.monotonic()
        self._date = (0, "")

    def progress(self) -> Progress:
        """The counts so far, which a checkpoint must store."""
        return Progress(self.iteration, self.start.time_total_s + self._here_s, self._timesteps, self._episodes)

    def skip(self, seconds: float) -> None:
        """Exclude ``seconds`` of waiting from the training time."""
        self._last += seconds

    def peek(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The automatic fields of this result, without counting it."""
        return copy.copy(self).next_fields(metrics)

    def next_fields(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Count one result and return its fields."""
        now = time.monotonic()
        said = _finite(metrics.get("time_this_iter_s"))
        this = now - self._last if said is None else said
        self._last = now
        self._here_s += this
        self.iteration = max(self.iteration + 1, _whole(metrics.get("training_iteration")) or 0)
        self._timesteps = _counted(metrics, "timesteps", self._timesteps)
        self._episodes = _counted(metrics, "episodes", self._episodes)
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, datetime.fromtimestamp(second).strftime("%Y-%m-%d_%H-%M-%S"))
        steps_before = self.start.timesteps_total or 0
        return {
            "training_iteration": self.iteration,
            "iterations_since_restore": self.iteration - self.start.iteration,
            "time_this_iter_s": this,
            "time_total_s": self.start.time_total_s + self._here_s,
            "time_since_restore": self._here_s,
            "timesteps_total": self._timesteps,
            "timesteps_since_restore": 0 if self._timesteps is None else self._timesteps - steps_before,
            "episodes_total": self._episodes,
            "timestamp": second,
            "date": self._date[1],
        }


def _counted(metrics: Mapping[str, Any], what: str, before: int | None) -> int | None:
    total = _whole(metrics.get(f"{what}_total"))
    if total is not None:
        return total
    this = _whole(metrics.get(f"{what}_this_iter"))
    return before if this is None else (before or 0) + this


def _whole(value: Any) -> int | None:
    number = _finite(value)
    return None if number is None else int(number)


def _finite(value: Any) -> float | None:
    """``value`` as a float (numpy and torch scalars too); None if it is not a finite number."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


@functools.cache
def node_ip() -> str:
    """This node's IP address, found without a name server."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("10.255.255.255", 1))  # no packet is sent: the kernel only picks an interface
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
