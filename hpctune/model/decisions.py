"""What a policy may answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Continue:
    """The trial goes on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The trial ends after this result."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The trial makes a checkpoint, frees its job, and waits until it is chosen again."""

    reason: str


Decision = Continue | Stop | Pause
CONTINUE = Continue()
