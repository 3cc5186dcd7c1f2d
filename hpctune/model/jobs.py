"""Jobs as a cluster sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hpctune.model.ids import Tag
from hpctune.model.resources import Resources


class JobState(str, Enum):
    """What a cluster may say of a job. Only those with ``final`` true end it; UNKNOWN never does."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    UNKNOWN = "UNKNOWN"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    PREEMPTED = "PREEMPTED"
    LOST = "LOST"
    """The cluster does not know the job (any more)."""

    @property
    def final(self) -> bool:
        """Whether the job is over for good."""
        return self in _FINAL

    @property
    def interruption(self) -> bool:
        """Whether this end says nothing about the trial itself: it goes on elsewhere, and no failure counts."""
        return self in _INTERRUPTIONS


_FINAL = frozenset(
    {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.NODE_FAIL,
        JobState.PREEMPTED,
        JobState.LOST,
    }
)
_INTERRUPTIONS = frozenset({JobState.TIMEOUT, JobState.NODE_FAIL, JobState.PREEMPTED, JobState.LOST})


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to submit: ``command`` runs once, in the first task, with ``env`` added to its environment.

    ``avoid``: names of nodes where it must not run. ``minutes``: its time limit, in place of that of the cluster's
    options; the cluster may have to make it shorter.
    """

    tag: Tag
    name: str
    command: tuple[str, ...]
    resources: Resources
    stdout: Path
    stderr: Path
    env: Mapping[str, str] = field(default_factory=dict)
    avoid: tuple[str, ...] = ()
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What the cluster says of one job.

    ``reason`` is the cluster's own word on why it waits or ended; ``nodes`` where it runs;
    ``ends_at`` (Unix seconds) when its time limit strikes.
    """

    job_id: str
    tag: Tag
    state: JobState
    reason: str = ""
    nodes: str = ""
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The cluster took the job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Surely no job was made. ``permanent``: asking again cannot help."""

    reason: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It is not known whether a job was made: look for its tag before doing anything else."""

    reason: str


SubmitOutcome = Accepted | Refused | Unanswered
