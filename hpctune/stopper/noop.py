"""A stopper that never stops anything."""

from __future__ import annotations

from typing import Any, ClassVar

from hpctune.stopper.stopper import Stopper


class NoopStopper(Stopper):
    """Never stops anything."""

    state_fields: ClassVar[tuple[str, ...]] = ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return False
