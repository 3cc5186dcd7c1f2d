"""``DistributedTrainable``: a function that runs in several processes for each trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hpctune.common.named_state import pickled_by_name
from hpctune.worker.ranks.world import World

TIMEOUT_S = 1800.0
"""Seconds that ranks wait for each other, by default: that of torch.distributed."""


class Backend:
    """What is set up in each rank around the user's function. This one sets up nothing."""

    def start(self, world: World, timeout_s: float) -> None:
        """Called before the function. The variables of :meth:`World.variables` are set."""

    def stop(self) -> None:
        """Called after the function, if it returns."""


@pickled_by_name
@dataclass(frozen=True, slots=True)
class DistributedTrainable:
    """``function`` runs in all ranks of a trial, which has ``per_bundle`` of them for each bundle of its resources.

    ``together``: every rank calls ``report`` equally often, and each call waits for all ranks; the result is that of
    rank 0, the checkpoint is made of those of all ranks. Otherwise only the reports of rank 0 count, and no rank waits.
    ``resources``: the request of each trial, in the form of ``with_resources``.
    """

    function: Callable[..., Any]
    resources: Any
    per_bundle: int = 1
    backend: Backend = field(default_factory=Backend)
    timeout_s: float = TIMEOUT_S
    together: bool = False
    __name__: str = "distributed"

    def __post_init__(self) -> None:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        object.__setattr__(self, "__name__", name)
