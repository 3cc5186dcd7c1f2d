"""Reuse of a class trainable: it stays in its process after a trial, and the next trial resets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpctune.model.records import Outcome
from hpctune.worker.end_of_run import EndOfRun

if TYPE_CHECKING:
    from hpctune.worker.trainable import Trainable

_GOOD_ENDS = frozenset({Outcome.COMPLETED, Outcome.STOPPED, Outcome.PAUSED, Outcome.REPLACED})


class ReusableTrainable:
    """Holds at most one trainable between two trials. Without reuse it holds none."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether this process runs several trials, one after the other."""
        self._trainable: Trainable | None = None

    @property
    def holds(self) -> bool:
        """Whether a trainable is kept."""
        return self._trainable is not None

    def make(self, cls: type[Trainable], config: Mapping[str, Any]) -> Trainable:
        """Return the kept trainable (already reset to ``config``), or create one."""
        kept, self._trainable = self._trainable, None
        return cls(dict(config)) if kept is None else kept

    def keep(self, trainable: Trainable, end: EndOfRun | None) -> bool:
        """Keep the trainable if reuse is on and its trial ended well. False: the caller must clean it up."""
        if not self.wanted or end is None or end.outcome not in _GOOD_ENDS:
            return False
        self._trainable = trainable
        return True

    def release(self) -> Trainable | None:
        """Return the kept trainable, if any, and stop keeping it."""
        kept, self._trainable = self._trainable, None
        return kept

    def reset(self, config: Mapping[str, Any]) -> bool:
        """Call ``reset_config`` of the kept trainable; False if it refuses, or if none is kept."""
        kept = self._trainable
        return kept is not None and bool(kept.reset(dict(config)))


kept = ReusableTrainable()
