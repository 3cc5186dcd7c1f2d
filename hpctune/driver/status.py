"""Publishes the driver's status: on its display, and in ``driver.json`` for commands on other machines."""

from __future__ import annotations

from collections.abc import Sequence

from hpctune.core.state import ExperimentState
from hpctune.driver.disk_watch import DiskWatch
from hpctune.driver.queue_waits import JobWaits
from hpctune.driver.status_file import DriverStatus
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.output.display.display import Display
from hpctune.ports import Cluster
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial

BAD_NODE_DEATHS = 3
"""A node is named in the status after this many attempts in a row died on it."""


class StatusPublisher:
    """Publishes the status of one driver. ``status_interval_s``: seconds between two writes of ``driver.json``."""

    def __init__(self, paths: ExperimentPaths, cluster: Cluster, display: Display, status_interval_s: float) -> None:
        self._paths, self._cluster, self._display, self._interval_s = paths, cluster, display, status_interval_s
        self._published_at = float("-inf")
        self._waits, self._disk = JobWaits(), DiskWatch(paths)

    def take(self, recorded: e.Recorded, state: ExperimentState) -> None:
        """Use an event that ``state`` has just applied."""
        self._waits.take(recorded, state)

    def show(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float) -> str:
        """Show the status after a turn; ``note``: from :func:`note`. Returns why it cannot be written, or ""."""
        if self._disk.look(state, now):
            self._display.message(f"hpctune: {self._disk.note}.")
        self._display.update(state, trials, self._with_disk(note), now, state.ended is not None)
        return self.publish(state, note, now) if now - self._published_at >= self._interval_s else ""

    def publish(self, state: ExperimentState, note: str, now: float) -> str:
        """Write ``driver.json`` now. Returns why it cannot be written, or ""."""
        self._published_at = now
        words = (getattr(self._cluster, "summary", str)(), self._waits.words(self._cluster, state, now))
        self._display.about([(head, text) for head, text in zip(("Workers", "Queue"), words, strict=True) if text])
        note = self._with_disk(note)
        try:
            DriverStatus(self._cluster.name, now, note, self._cluster.stats(), *words).write(self._paths)
        except StorageError as error:
            return str(error)
        return ""

    def _with_disk(self, note: str) -> str:
        return "; ".join(filter(None, (note, self._disk.note)))


def note(state: ExperimentState, cluster: Cluster, failure: str, outage: str) -> str:
    """A description of a current problem; "" if there is none.

    ``failure``: why the storage cannot be written. ``outage``: why the cluster does not answer.
    """
    if failure:
        return f"storage: {failure}"
    outage = outage or getattr(cluster, "trouble", "")
    if outage:
        return f"{cluster.name}: {outage}"
    limit = state.spec.failure_policy.exclude_nodes_after
    bad = [f"{node} ({state.deaths[node]})" for node in state.bad_nodes(limit or BAD_NODE_DEATHS)]
    remedy = "no more trials run there" if limit else "exclude them with FailureConfig(exclude_nodes_after=...)"
    return f"several attempts in a row died on {', '.join(bad)}: {remedy}" if bad else ""


def outside_note(state: ExperimentState, outside: Sequence[str]) -> str:
    """A line about the trials that are not in the search space any more; "" if there are none."""
    if not outside:
        return ""
    unfinished = sum(not state.trials[trial_id].phase.final for trial_id in outside)
    more = f"; those that have not ended ({unfinished}) go on" if unfinished else ""
    return (
        f"hpctune: {len(outside)} of {len(state.trials)} trials are not in the search space any more. "
        f"Their results are kept{more}."
    )
