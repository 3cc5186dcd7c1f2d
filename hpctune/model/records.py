"""What a run says (its run file, line by line) and what it is told (its control file)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hpctune.model.ids import RunKey


class Outcome(str, Enum):
    """How a run ended, in its own words."""

    COMPLETED = "completed"
    """The trainable returned, or a stop criterion was met: the trial is done."""
    STOPPED = "stopped"
    """The driver told it to stop: the trial is done."""
    PAUSED = "paused"
    """The driver told it to pause: it goes on later from its checkpoint."""
    INTERRUPTED = "interrupted"
    """A signal (time limit, preemption) ended it: it asks to go on elsewhere."""
    FAILED = "failed"
    """The trainable raised, or its program ended badly."""
    REPLACED = "replaced"
    """Its trial goes on from another trial's checkpoint; nothing of this run is needed."""
    REVOKED = "revoked"
    """The driver made the claim itself, so that no job ever can."""


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
    """First line of a run file: who the run is. Creating the file is what claims the run key."""

    run: RunKey
    job_id: str
    host: str
    pid: int
    at: float
    nodes: str = ""
    restored: str | None = None
    """The checkpoint it starts from, where an earlier run of the attempt made that (a directory name in the trial)."""
    job_began: float | None = None
    """When its job's script began, where it is the job's only run and that is known."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One reported result; ``seq`` counts from 1 within a run. ``checkpoint`` is a directory name in the trial."""

    run: RunKey
    seq: int
    row: Mapping[str, Any]
    checkpoint: str | None = None


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


RunRecord = Claim | ResultRow | Exit


@dataclass(frozen=True, slots=True)
class Control:
    """What the current attempt of a trial shall do. If it is absent or of another attempt: nothing, exit at once.

    ``restore`` is the path of a checkpoint directory to start from. ``criteria`` are stop thresholds that the worker
    checks itself. ``stop`` and ``leave`` (a VacateReason) are orders, obeyed at the next report. ``milestone`` is a
    report (a value of ``milestone_attr``): there the worker waits, up to ``decision_timeout_s`` seconds, until
    ``answered`` reaches that value. If no answer comes it goes on, or pauses with ``milestone_pause``.
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
    decision_timeout_s: float = 0.0
    answered: float | None = None
