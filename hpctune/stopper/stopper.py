"""The base class of stoppers, and several in one."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from hpctune.errors import UsageError


class Stopper(ABC):
    """Decides in the driver which trials to stop, and when to stop the whole experiment.

    The driver calls ``tick`` often, ``stopper(trial_id, result)`` once for each result that counts, and ``stop_all``
    after both. A trial that is told to stop does so at its next report.
    """

    state_fields: ClassVar[tuple[str, ...] | None] = None
    """The attributes that change as results come in, and so make up the state; None: all attributes."""

    @abstractmethod
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether to stop the trial that reported ``result``."""

    @abstractmethod
    def stop_all(self) -> bool:
        """Return whether to stop the experiment: all its trials, and no new ones."""

    def tick(self, now: float) -> None:  # noqa: B027 - most stoppers ignore time
        """Take note of the driver's time ``now`` in seconds. Only differences between ticks mean anything.

        The first tick comes when a driver begins to drive the experiment, before it replays any earlier result. The
        driver's clock may stand still while there is no driver.
        """

    def get_state(self) -> dict[str, Any]:
        """Return a copy of the progress, without the settings. The state of hpctune's own stoppers is JSON."""
        names = vars(self) if self.state_fields is None else self.state_fields
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` returned."""
        for name, value in state.items():
            setattr(self, name, copy.deepcopy(value))


class CombinedStopper(Stopper):
    """Stops a trial or the experiment when any of several stoppers does. Each of them sees every result.

    Raises:
        UsageError: if one of ``stoppers`` is no Stopper.
    """

    def __init__(self, *stoppers: Stopper) -> None:
        for stopper in stoppers:
            if not isinstance(stopper, Stopper):
                raise UsageError(f"CombinedStopper takes instances of Stopper, not {stopper!r}.")
        self._stoppers = stoppers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        answers = [stopper(trial_id, result) for stopper in self._stoppers]
        return any(answers)

    def stop_all(self) -> bool:
        return any(stopper.stop_all() for stopper in self._stoppers)

    def tick(self, now: float) -> None:
        for stopper in self._stoppers:
            stopper.tick(now)

    def get_state(self) -> dict[str, Any]:
        return {"stoppers": [stopper.get_state() for stopper in self._stoppers]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Raises UsageError if it is that of another number of stoppers."""
        states = state["stoppers"]
        if len(states) != len(self._stoppers):
            raise UsageError(
                f"The state is that of {len(states)} combined stoppers, but there are {len(self._stoppers)}. "
                "Resume with the stoppers that the experiment was started with."
            )
        for stopper, each in zip(self._stoppers, states, strict=True):
            stopper.set_state(each)
