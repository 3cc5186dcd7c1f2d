"""The records of a run (the lines of its run file), and the orders to it (its control file)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hpctune.model.ids import RunKey

REPORTED_NOTHING = "the program reported nothing"
"""How the reason of a run begins whose program has ended well without a result; what was printed instead follows."""


class Outcome(str, Enum):
    """How a run ended, as the run itself recorded it."""

    COMPLETED = "completed"
    """The trainable returned, or a stop criterion was met: the trial is done."""
    STOPPED = "stopped"
    """The driver told it to stop: the trial is done."""
    PAUSED = "paused"
    """The driver told it to pause: it goes on later from its checkpoint."""
    INTERRUPTED = "interrupted"
    """A signal (time limit, preemption) ended it: the trial must go on in another job."""
    FAILED = "failed"
    """The trainable raised an exception, or its program ended with an error."""
    REPLACED = "replaced"
    """Its trial goes on from another trial's checkpoint; this run's state is not needed."""
    REVOKED = "revoked"
    """The driver claimed the run key itself, so that no job ever can."""


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An exception as data. ``traceback`` is the full text."""

    kind: str
    message: str
    traceback: str = ""

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "message": self.message, "traceback": self.traceback}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> ErrorInfo:
        return cls(data["kind"], data["message"], data.get("traceback", ""))

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind


@dataclass(frozen=True, slots=True)
class Claim:
    """First line of a run file: the identity of the run. The creation of the file claims the run key."""

    run: RunKey
    job_id: str
    host: str
    pid: int
    at: float
    nodes: str = ""
    restored: str | None = None
    """The checkpoint from which it starts (a directory name in the trial), if an earlier run of the attempt made it."""
    job_began: float | None = None
    """When its job's script began, if known and if it is the job's only run."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One reported result; ``seq`` counts from 1 within a run. ``checkpoint`` is a directory name in the trial, with
    files of ``checkpoint_bytes``."""

    run: RunKey
    seq: int
    row: Mapping[str, Any]
    checkpoint: str | None = None
    checkpoint_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """Last line of a run file."""

    run: RunKey
    outcome: Outcome
    reason: str
    at: float
    error: ErrorInfo | None = None
    checkpoint: str | None = None
    """A checkpoint made after the last result (``checkpoint_at_end``, pause, signal), if any."""
    checkpoint_iteration: int = 0
    checkpoint_bytes: int | None = None


RunRecord = Claim | ResultRow | Exit


@dataclass(frozen=True, slots=True)
class Control:
    """The orders to the current attempt of a trial. If there are none, or they are for another attempt, a run exits.

    ``restore``: the path of a checkpoint directory to start from. ``criteria``: stop thresholds that the worker checks
    itself. ``stop`` and ``leave`` (a VacateReason): orders that the worker follows at the next report. ``milestone``: a
    value of ``milestone_attr``. At the report with this value the worker waits, up to ``decision_timeout_s`` seconds,
    until ``answered`` reaches it. Without an answer it pauses if ``milestone_pause`` is set. Else ``undecided`` says
    what it does: "next" (it goes on to ``milestone_then``, waits there in the same way, and then pauses), "continue"
    or "pause". ``ends_at_value``: the value of ``milestone_attr`` at which it ends by itself.
    """

    experiment_id: str
    trial_id: str
    trial_name: str
    experiment_tag: str
    attempt: int
    config: Mapping[str, Any]
    resources: Mapping[str, Any]
    restore: str | None = None
    criteria: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = False
    export_formats: tuple[str, ...] = ()
    stop: str | None = None
    leave: str | None = None
    milestone: float | None = None
    milestone_attr: str = "training_iteration"
    milestone_pause: bool = False
    milestone_then: float | None = None
    ends_at_value: float | None = None
    undecided: str = "continue"
    decision_timeout_s: float = 0.0
    answered: float | None = None
