"""What a driver shows: on its display, and in ``driver.json`` for commands on other machines."""

from __future__ import annotations

from collections.abc import Sequence

from hpctune.core.state import ExperimentState
from hpctune.driver.queue_waits import JobWaits
from hpctune.driver.status_file import DriverStatus
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.output.display.display import Display
from hpctune.ports import Cluster
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial

BAD_NODE_DEATHS = 3
"""Attempts in a row that die on a node before it is named."""


class StatusPublisher:
    """``status_interval_s``: seconds between two writes of ``driver.json``."""

    def __init__(self, paths: ExperimentPaths, cluster: Cluster, display: Display, status_interval_s: float) -> None:
        self._paths, self._cluster, self._display, self._interval_s = paths, cluster, display, status_interval_s
        self._published_at = float("-inf")
        self._waits = JobWaits()

    def take(self, recorded: e.Recorded, state: ExperimentState) -> None:
        """Take in an event that ``state`` has just taken."""
        self._waits.take(recorded, state)

    def show(self, state: ExperimentState, trials: Sequence[Trial], said: str, now: float) -> str:
        """After a turn; ``said``: a :func:`note`. Returns why the storage refuses, "" where it does not."""
        self._display.update(state, trials, said, now, state.ended is not None)
        return self.publish(state, said, now) if now - self._published_at >= self._interval_s else ""

    def publish(self, state: ExperimentState, said: str, now: float) -> str:
        """Write ``driver.json`` now; returns as :meth:`show` does."""
        self._published_at = now
        words = (getattr(self._cluster, "summary", str)(), self._waits.words(self._cluster, state, now))
        try:
            DriverStatus(self._cluster.name, now, said, self._cluster.stats(), *words).write(self._paths)
        except StorageError as error:
            return str(error)
        return ""


def note(state: ExperimentState, cluster: Cluster, failure: str, outage: str) -> str:
    """An outage or a refusal, in words; empty when all is well. ``failure``: why the storage refuses; ``outage``: why
    the cluster does not answer."""
    if failure:
        return f"storage: {failure}"
    outage = outage or getattr(cluster, "trouble", "")
    if outage:
        return f"{cluster.name}: {outage}"
    limit = state.spec.failure_policy.exclude_nodes_after
    bad = [f"{node} ({state.deaths[node]})" for node in state.bad_nodes(limit or BAD_NODE_DEATHS)]
    left_out = "no more trials go there" if limit else "FailureConfig(exclude_nodes_after=...) leaves them out"
    return f"attempts die, one after another, on {', '.join(bad)}: {left_out}" if bad else ""
