"""The scheduler interface: it gets values and returns a decision; it never sees the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hpctune.model.decisions import CONTINUE, Decision
from hpctune.model.trial import Trial


class SchedulerPolicy(Protocol):
    """What the engine asks of a scheduler.

    Calls come in the order of the journal; after a crash they are repeated in that order with their answers thrown
    away, so a scheduler must be a function of what it was told (and of a seed), not of the clock.
    """

    def on_trial_add(self, trial: Trial) -> None:
        """A trial exists; it has not run yet."""
        ...

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """A counted result of a running trial."""
        ...

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """The trial ended in good order; ``row`` is its last result (empty: it had none)."""
        ...

    def on_trial_error(self, trial: Trial) -> None:
        """The trial ended in error."""
        ...

    def choose(self, waiting: Sequence[Trial]) -> str | None:
        """Which of the ``waiting`` trials (pending or paused, oldest first) gets the next free place; None: none."""
        ...

    def milestone(self, trial: Trial) -> float | None:
        """The value of the time attribute at whose report the trial is to wait for a decision; None: never."""
        ...


class FIFOScheduler:
    """First come, first served; every trial runs to its end."""

    def on_trial_add(self, trial: Trial) -> None:
        """Nothing to note."""

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Always go on."""
        return CONTINUE

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """Nothing to note."""

    def on_trial_error(self, trial: Trial) -> None:
        """Nothing to note."""

    def choose(self, waiting: Sequence[Trial]) -> str | None:
        """The oldest."""
        return waiting[0].trial_id if waiting else None

    def milestone(self, trial: Trial) -> float | None:
        """None: nothing is ever decided."""
        return None
