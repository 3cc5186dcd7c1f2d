"""The base of schedulers of one's own, under the name that Ray Tune gives it."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.schedulers.base import FIFOScheduler

__all__ = ["FIFOScheduler", "TrialScheduler"]

_ONLY_IN_RAY = {
    "choose_trial_to_run": "choose(waiting, *, idle), which returns a trial_id or None",
    "on_trial_remove": "on_trial_complete(trial, row) or on_trial_error(trial), for paused trials as well",
}


class TrialScheduler(FIFOScheduler):
    """Derive from it, or from FIFOScheduler, to write a scheduler; what is not overridden is first come, first served.

    ``CONTINUE``, ``PAUSE``, ``STOP`` and ``NOOP`` may be returned as decisions; ``Pause("why")`` and ``Stop("why")``
    give a reason of their own. The methods get a trial and a row, and no controller: a subclass that is written for Ray
    Tune's methods raises UsageError when it is defined.
    """

    CONTINUE: ClassVar[Decision] = CONTINUE
    PAUSE: ClassVar[Decision] = Pause("paused by its scheduler")
    STOP: ClassVar[Decision] = Stop("stopped by its scheduler")
    NOOP: ClassVar[Decision] = CONTINUE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, instead in _ONLY_IN_RAY.items():
            if name in vars(cls):
                raise UsageError(f"{cls.__name__}.{name} is never called: hpctune asks {instead}.")
        for name in ("on_trial_add", "on_trial_result", "on_trial_complete", "on_trial_error"):
            given = [*inspect.signature(getattr(cls, name)).parameters][1:]
            wanted = [*inspect.signature(getattr(FIFOScheduler, name)).parameters][1:]
            if len(given) > len(wanted):
                raise UsageError(
                    f"{cls.__name__}.{name} takes ({', '.join(given)}), and hpctune calls it with "
                    f"({', '.join(wanted)}): there is no controller. See docs/how-to/schedulers.md."
                )
