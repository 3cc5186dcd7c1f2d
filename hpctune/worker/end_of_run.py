"""How a run is told to end: an exception that user code does not catch by accident."""

from __future__ import annotations

from hpctune.model.records import Outcome


class EndOfRun(BaseException):
    """Raised by a report (or a signal) when the run is over. ``outcome`` None: it was superseded and must not write.

    ``error``: why it failed, where ``outcome`` says so.
    """

    def __init__(self, outcome: Outcome | None, reason: str, error: Exception | None = None) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.error = outcome, reason, error
