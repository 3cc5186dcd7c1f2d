"""Measures from the events how long trials' jobs wait in the queue, and how long until their first report."""

from __future__ import annotations

from hpctune.cluster.queue_waits import QueueWaits
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.ports import Cluster


class JobWaits:
    """Queue waits as the driver observed them, late by one poll at most. Events of earlier drivers count, too."""

    def __init__(self) -> None:
        self._waits = QueueWaits()

    def take(self, recorded: e.Recorded, state: ExperimentState) -> None:
        """Use an event that ``state`` has just applied. A requeued job counts once."""
        match recorded.event:
            case e.RunStarted(run=run) if run.restart == 0:
                attempt = state.trials[run.trial_id].attempt
                if attempt is not None:
                    self._waits.started(recorded.at - attempt.requested_at)
            case e.ResultReported(run=run, seq=1) if run.restart == 0:
                attempt = state.trials[run.trial_id].attempt
                if attempt is not None and attempt.started_at is not None:
                    self._waits.began(recorded.at - attempt.started_at)

    def words(self, cluster: Cluster, state: ExperimentState, now: float) -> str:
        """A short summary for people. For a pool it is about the workers' jobs."""
        own = getattr(cluster, "queue", None)
        if own is not None:
            return str(own())
        queued = (t.attempt for t in state.in_phase(Phase.QUEUED))
        return self._waits.summary([now - a.requested_at for a in queued if a is not None])
