"""In how few calls jobs are submitted: all that ask for the same at once, where the cluster takes that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpctune.cluster.slurm.arrays import groups
from hpctune.cluster.slurm.sbatch_errors import Refusal
from hpctune.model.jobs import Accepted, JobRequest, Refused, SubmitOutcome, Unanswered

Send = Callable[[Sequence[JobRequest]], tuple[list[SubmitOutcome], Refusal | None]]
"""One call: an outcome for each request, and the cluster's own refusal, None where it was not asked or refused none."""


class Batches:
    """Submits through ``send``, up to ``at_once`` requests that ask for the same by one call.

    Several that are refused for a limit are tried again by halves, down to one. Several that are refused for good may
    be so for their number (MaxArraySize), or since no arrays are wanted here: where one of them alone is taken,
    ``at_once`` is halved from then on.
    """

    def __init__(self, send: Send, at_once: int) -> None:
        self._send, self.at_once = send, at_once
        self._limit = ""
        """What the cluster said when it had no room for several."""

    def submit(self, requests: Sequence[JobRequest]) -> tuple[list[SubmitOutcome], bool]:
        """An outcome for each, and whether the cluster has no room now, or gave no answer; then the rest was not
        tried."""
        outcomes: dict[int, SubmitOutcome] = {}
        no_room = False
        for group in groups(requests):
            going, no_room = self._all(requests, group, outcomes)
            if not going:
                break
        if len(outcomes) < len(requests):
            why = next((o.reason for o in reversed(outcomes.values()) if not isinstance(o, Accepted)), self._limit)
            rest = Refused(f"Not tried, after this about another job: {why}", permanent=False)
            outcomes |= {i: rest for i in range(len(requests)) if i not in outcomes}
        return [outcomes[i] for i in range(len(requests))], no_room

    def _all(
        self, requests: Sequence[JobRequest], group: Sequence[int], outcomes: dict[int, SubmitOutcome]
    ) -> tuple[bool, bool]:
        """Submit those at the positions ``group``. Returns whether to go on, and whether there is no room."""
        while group:
            part, group = group[: self.at_once], group[self.at_once :]
            found, told = self._send([requests[i] for i in part])
            meaning = told.meaning if told is not None else None
            if told is not None and len(part) > 1 and meaning == "limit":
                self._limit = told.reason
                self._all(requests, part[: len(part) // 2], outcomes)
                return False, True
            if len(part) > 1 and meaning == "permanent":
                going, no_room = self._all(requests, part[:1], outcomes)
                if not going:
                    return going, no_room
                first = outcomes[part[0]]
                if isinstance(first, Refused):
                    outcomes |= dict.fromkeys(part, first)
                else:
                    self.at_once, group = len(part) // 2, [*part[1:], *group]
                continue
            outcomes |= zip(part, found, strict=True)
            if _holds(found[0]):
                return False, meaning is not None
        return True, False


def _holds(outcome: SubmitOutcome) -> bool:
    """Whether the others need not be tried now."""
    return isinstance(outcome, Unanswered) or (isinstance(outcome, Refused) and not outcome.permanent)
