"""The port between the engine and everything that suggests configurations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A configuration to try."""

    config: dict[str, Any]
    """The whole configuration, ready for the trial."""
    evaluated: dict[str, Any]
    """What varies in it, flat: ``{"model/lr": 0.1}``. It names the trial and fills the tables."""


class Wait:
    """Nothing to suggest now; ask again when something has changed. There is one, WAIT."""

    def __repr__(self) -> str:
        return "WAIT"

    def __reduce__(self) -> str:
        return "WAIT"


class Exhausted:
    """Nothing to suggest, now or later. There is one, EXHAUSTED."""

    def __repr__(self) -> str:
        return "EXHAUSTED"

    def __reduce__(self) -> str:
        return "EXHAUSTED"


WAIT = Wait()
EXHAUSTED = Exhausted()


class SearchPolicy(Protocol):
    """What the engine asks for configurations. Trials are numbered from 0 in the order of their suggestion.

    On resume the engine goes through its journal and repeats every call in order, except that ``replay`` takes the
    place of ``suggest``.
    """

    @property
    def total(self) -> int | None:
        """The number of trials that will be suggested at most; None if unknown or without end."""

    def suggest(self, index: int, trial_id: str) -> Suggestion | Wait | Exhausted:
        """Return the configuration of trial number ``index``."""

    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        """Take note of a suggestion that was made, and recorded, before."""

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take note of an intermediate result."""

    def on_pause(self, trial_id: str) -> None:
        """Take note that a trial has left its job, to go on later."""

    def on_unpause(self, trial_id: str) -> None:
        """Take note that a paused trial goes on."""

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Take note of the end of a trial: its last result (None if it had none), and whether it failed."""


class SearchAlgorithm(ABC):
    """What ``search_alg`` may be: something that can be bound to a search space."""

    @abstractmethod
    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> SearchPolicy:
        """Return the policy that searches ``space``.

        Args:
            space: The user's search space.
            num_samples: How many samples to take; -1: without end.
            seed: The experiment's seed, for algorithms that were given none of their own.
            metric: What to optimize, if the algorithm was not told when it was made.
            mode: "min" or "max", likewise.

        Raises:
            SearchSpaceError: if the space is invalid or cannot be searched by this algorithm.
            UsageError: if an argument is.
        """
