"""What the jobs of trials waited in the queue, and took from their start to their first report, from the events."""

from __future__ import annotations

from hpctune.cluster.queue_waits import QueueWaits
from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.ports import Cluster


class JobWaits:
    """As the driver saw it: late by a poll at most. What is folded from the journal counts, too."""

    def __init__(self) -> None:
        self._waits = QueueWaits()

    def take(self, recorded: e.Recorded, state: ExperimentState) -> None:
        """Take in an event that ``state`` has just taken. A job that was requeued counts once."""
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
        """A few words for people. Of a pool it is its workers' jobs that wait."""
        own = getattr(cluster, "queue", None)
        if own is not None:
            return str(own())
        queued = (t.attempt for t in state.in_phase(Phase.QUEUED))
        return self._waits.summary([now - a.requested_at for a in queued if a is not None])
