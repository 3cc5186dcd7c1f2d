"""The decisions that a policy may return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Continue:
    """The trial goes on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The trial ends after this result."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The trial makes a checkpoint, frees its job, and waits until it is chosen again.

    ``yields``: pause only if another trial waits for a place or is still expected; otherwise the trial goes on. (Not
    for decisions on other trials.)
    """

    reason: str
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Exploit:
    """The trial gives up its state and goes on from the newest checkpoint of the trial ``donor`` with ``config``.

    ``config`` is the whole configuration. ``tag``: the trial's new experiment tag ("": unchanged). Does nothing if the
    donor has no checkpoint.
    """

    donor: str
    config: Mapping[str, Any]
    reason: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Reallocate:
    """The trial makes a checkpoint and goes on in a new job that asks for ``resources``."""

    resources: Resources
    reason: str


Decision = Continue | Stop | Pause | Exploit | Reallocate
CONTINUE = Continue()
