"""The exception that ends a run. It is a BaseException, so user code does not catch it by accident."""

from __future__ import annotations

from hpctune.model.records import Outcome


class EndOfRun(BaseException):
    """Raised by a report (or a signal) when the run is over. ``outcome`` None: another run has replaced this one, which
    must not write any more.

    ``error``: the cause, if ``outcome`` is a failure.
    """

    def __init__(self, outcome: Outcome | None, reason: str, error: Exception | None = None) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.error = outcome, reason, error
