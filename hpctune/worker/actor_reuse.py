"""A class trainable that stays in its process when its trial is over, for the next trial to take (``reset_config``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpctune.model.records import Outcome
from hpctune.worker.end_of_run import EndOfRun

if TYPE_CHECKING:
    from hpctune.worker.trainable import Trainable

_GOOD_ENDS = frozenset({Outcome.COMPLETED, Outcome.STOPPED, Outcome.PAUSED, Outcome.REPLACED})


class ReusableTrainable:
    """At most one trainable, between two trials; what is not asked for is not kept."""

    def __init__(self) -> None:
        self.wanted = False
        """Whether this process takes one trial after another."""
        self._trainable: Trainable | None = None

    @property
    def holds(self) -> bool:
        """Whether a trainable is kept."""
        return self._trainable is not None

    def make(self, cls: type[Trainable], config: Mapping[str, Any]) -> Trainable:
        """The trainable that was kept (and has taken ``config`` already), or a new one."""
        kept, self._trainable = self._trainable, None
        return cls(dict(config)) if kept is None else kept

    def keep(self, trainable: Trainable, end: EndOfRun | None) -> bool:
        """Keep it, where the next trial may want it and the last came to a good end; False: it is to be cleaned up."""
        if not self.wanted or end is None or end.outcome not in _GOOD_ENDS:
            return False
        self._trainable = trainable
        return True

    def release(self) -> Trainable | None:
        """The trainable that is kept, if any; it is kept no more."""
        kept, self._trainable = self._trainable, None
        return kept

    def reset(self, config: Mapping[str, Any]) -> bool:
        """Let the kept trainable take ``config``; False when it does not, or there is none."""
        kept = self._trainable
        return kept is not None and bool(kept.reset(dict(config)))


kept = ReusableTrainable()
