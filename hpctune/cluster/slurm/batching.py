"""Submits jobs in few calls: all requests that ask for the same go out together, if the cluster accepts that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hpctune.cluster.slurm.arrays import groups
from hpctune.cluster.slurm.sbatch_errors import Refusal
from hpctune.model.jobs import Accepted, JobRequest, Refused, SubmitOutcome, Unanswered

Send = Callable[[Sequence[JobRequest]], tuple[list[SubmitOutcome], Refusal | None]]
"""One call. Returns an outcome for each request, and the cluster's refusal (None: not asked, or nothing refused)."""


class Batches:
    """Submits through ``send``, with up to ``at_once`` requests that ask for the same in one call.

    If several are refused because of a limit, half of them are tried, down to one. If several are refused
    permanently, the reason may be their number (MaxArraySize) or that arrays are not allowed: if one of them alone is
    accepted, ``at_once`` is halved from then on.
    """

    def __init__(self, send: Send, at_once: int) -> None:
        self._send, self.at_once = send, at_once
        self._limit = ""
        """The cluster's message when it had no room for several."""

    def submit(self, requests: Sequence[JobRequest]) -> tuple[list[SubmitOutcome], bool]:
        """Returns an outcome for each request, and whether the cluster has no room now or did not answer.

        In that case the remaining requests were not tried.
        """
        outcomes: dict[int, SubmitOutcome] = {}
        no_room = False
        for group in groups(requests):
            going, no_room = self._all(requests, group, outcomes)
            if not going:
                break
        if len(outcomes) < len(requests):
            why = next((o.reason for o in reversed(outcomes.values()) if not isinstance(o, Accepted)), self._limit)
            rest = Refused(f"Not submitted, because another job was refused: {why}", permanent=False)
            outcomes |= {i: rest for i in range(len(requests)) if i not in outcomes}
        return [outcomes[i] for i in range(len(requests))], no_room

    def _all(
        self, requests: Sequence[JobRequest], group: Sequence[int], outcomes: dict[int, SubmitOutcome]
    ) -> tuple[bool, bool]:
        """Submit the requests at the positions ``group``. Returns whether to go on, and whether there is no room."""
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
    """Whether there is no point in trying the others now."""
    return isinstance(outcome, Unanswered) or (isinstance(outcome, Refused) and not outcome.permanent)
