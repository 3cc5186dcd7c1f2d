"""The values that a pool and its workers exchange. All times are Unix seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ASSIGNMENT = re.compile(r"(w\d{4,})\.(\d+)")
"""The id of an assignment: its worker and its number."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The definition of one worker, fixed when it is submitted.

    ``slots``: trials that run in it side by side. ``cpus`` and ``gpus``: of one trial. ``resources``: of the whole
    worker, as JSON. ``idle_timeout_s``: it ends after this time without work. ``start``: "fork" (the user's code is
    imported once) or "spawn" (a new interpreter for each trial). ``kill_wait_s``: seconds from SIGTERM to SIGKILL when
    a trial is cancelled. ``wait_for_gpu``: whether a trial waits until the memory of its GPU is free.
    ``submitted_at``: when it was requested; 0.0: not known.
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
    """One attempt of one trial, assigned to one worker. A worker's assignments are numbered from 1 in their order."""

    number: int
    tag: str
    command: tuple[str, ...]
    stdout: str
    stderr: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerOrders:
    """The orders to run ``run`` of a worker: the wanted state, not a message. ``cancel`` and ``retracted`` are numbers.

    ``retracted``: assignments to return if they have not begun. ``leave``: why it must take no more assignments; "": go
    on. ``idle_grace_s``: it may be idle for this time before it ends, if that is more than its own ``idle_timeout_s``.
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
    """When its job's script began, if known."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The user's code is imported, and the worker takes assignments from now on."""

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
    """A trial's process has ended.

    ``code``: its exit code, negative for a signal, None if it never began. ``why``: "", "cancelled", "oom", or "warned"
    (it was told to end before it could react). ``saved_s``: seconds from its start to its first checkpoint, if known.
    """

    number: int
    code: int | None
    at: float
    why: str = ""
    saved_s: float | None = None


@dataclass(frozen=True, slots=True)
class Retracted:
    """An assignment was returned: it will not begin on this worker."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Left:
    """Last line of a worker's record: no trial's process is left, and none will begin."""

    reason: str
    at: float


WorkerRecord = Claimed | Ready | Began | Ended | Retracted | Left
