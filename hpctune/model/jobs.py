"""Values about the jobs of a cluster: states, requests, and outcomes of submissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hpctune.model.ids import Tag
from hpctune.model.resources import Resources


class JobState(str, Enum):
    """The states of a job. A job ends only in a state with ``final`` true; UNKNOWN never ends it."""

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
        """Whether this end is not the trial's fault: the trial goes on in another job, and no failure counts."""
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

    ``avoid``: names of nodes on which it must not run. ``minutes``: its time limit, which replaces that of the
    cluster's options; the cluster may reduce it to what is allowed.
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
    """The cluster's answer about one job.

    ``reason``: why it waits or ended, in the cluster's words. ``nodes``: the nodes on which it runs. ``ends_at``: when
    it reaches its time limit (Unix seconds).
    """

    job_id: str
    tag: Tag
    state: JobState
    reason: str = ""
    nodes: str = ""
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The cluster accepted the job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Surely no job was created. ``permanent``: another try cannot succeed."""

    reason: str
    permanent: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It is not known whether a job was created. Look for its tag before any other step."""

    reason: str


SubmitOutcome = Accepted | Refused | Unanswered
