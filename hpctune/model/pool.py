"""What passes between a pool and its workers, as values. All times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What one worker is; fixed when it is submitted.

    ``slots`` trials run in it side by side. ``cpus`` and ``gpus`` are those of one of them,
    ``resources`` all that it asks for, as JSON. ``idle_timeout_s``: it
    leaves when it has had nothing to do for so long. ``start``: "fork" (the user's code is imported once) or "spawn"
    (a fresh interpreter for each trial). ``kill_wait_s``: seconds from SIGTERM to SIGKILL where a trial is cancelled.
    ``submitted_at``: when it was asked for; 0.0: not known.
    """

    experiment_id: str
    worker: str
    slots: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    idle_timeout_s: float = 120.0
    start: str = "fork"
    kill_wait_s: float = 30.0
    wait_for_gpu: bool = False
    resources: Mapping[str, Any] = field(default_factory=dict)
    submitted_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt of one trial for one worker, numbered from 1 in the order in which the worker gets them."""

    number: int
    tag: str
    command: tuple[str, ...]
    stdout: str
    stderr: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerOrders:
    """What run ``run`` of a worker shall do: a level, not a message. ``cancel`` and ``retracted`` are numbers.

    ``retracted``: give these back if they have not begun. ``leave``: why it shall take nothing more; "" for go on.
    ``idle_grace_s``: it may have nothing to do for so long before it leaves, where that is more than its own time-out.
    """

    run: int
    assignments: tuple[Assignment, ...] = ()
    cancel: tuple[int, ...] = ()
    retracted: tuple[int, ...] = ()
    leave: str = ""
    idle_grace_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Claimed:
    """First line of a worker's record."""

    run: int
    job_id: str
    host: str
    pid: int
    at: float
    job_began: float | None = None
    """When its job's script began, where that is known."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The user's code is imported: it takes assignments from here on."""

    at: float


@dataclass(frozen=True, slots=True)
class Began:
    """A trial's process is about to be started."""

    number: int
    tag: str
    slot: int
    output: tuple[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over. ``code``: its exit code, negative for a signal, None where it never began. ``why``: "", "cancelled",
    "oom", or "warned" (it was asked to leave before it could heed that). ``saved_s``: seconds from its start to its
    first checkpoint, where it is known."""

    number: int
    code: int | None
    at: float
    why: str = ""
    saved_s: float | None = None


@dataclass(frozen=True, slots=True)
class Retracted:
    """An assignment that will not begin here."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Left:
    """Last line: no process of a trial is left, and nothing more will begin."""

    reason: str
    at: float


WorkerRecord = Claimed | Ready | Began | Ended | Retracted | Left
