"""The state of a trial as frozen values: its phase, its current attempt, its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import PRIVATE, flatten


class VacateReason(str, Enum):
    """Why a trial that is not over must vacate its job at its next report."""

    PAUSE = "pause"
    """It makes a checkpoint and waits until its scheduler chooses it again."""
    MOVE = "move"
    """It makes a checkpoint and goes on in a new job, with other resources."""
    REPLACE = "replace"
    """It goes on from another trial's checkpoint with another configuration. Its results until then do not count."""


class Phase(str, Enum):
    """The phase of a trial. Only ``evolve`` changes it."""

    PENDING = "PENDING"
    """It waits for an attempt."""
    SUBMITTING = "SUBMITTING"
    """An attempt was decided; whether its job exists is not known yet."""
    QUEUED = "QUEUED"
    """Its job is known to the cluster and no run has claimed the attempt."""
    RUNNING = "RUNNING"
    """A run has claimed the attempt."""
    PAUSED = "PAUSED"
    """It holds no job and waits for its scheduler."""
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    @property
    def final(self) -> bool:
        """Whether the trial is over."""
        return self in (Phase.TERMINATED, Phase.ERROR)

    @property
    def live(self) -> bool:
        """Whether the trial has, or may have, a job."""
        return self in (Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING)


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A complete checkpoint of the trial: directory name, training iteration, and its score for retention.

    ``bytes``: the sizes of its files; None: unknown. ``metric``: the value of the experiment's metric in its
    result, if known.
    """

    name: str
    iteration: int
    score: float | None = None
    bytes: int | None = None
    metric: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a trial.

    ``restart``: the run that holds the attempt now (-1: none yet). ``seq``: the number of its results that were
    recorded. ``uncertain_since``: set while a submission may have happened but its answer is not known. When the
    attempt is over, ``outcome`` (from the run's exit record, read at ``left_at``) or ``ended`` (from the cluster) is
    set.
    """

    number: int
    requested_at: float
    restore: str | None = None
    uncertain_since: float | None = None
    job_id: str | None = None
    job_state: JobState = JobState.UNKNOWN
    job_reason: str = ""
    nodes: str = ""
    ends_at: float | None = None
    restart: int = -1
    seq: int = 0
    started_at: float | None = None
    heard_at: float | None = None
    """When its run last reported, or began."""
    base_results: int = 0
    """The number of the trial's results when the attempt was requested. Progress is measured from here."""
    outcome: Outcome | None = None
    left_at: float | None = None
    ended: JobState | None = None
    reason: str = ""
    error: ErrorInfo | None = None

    @property
    def over(self) -> bool:
        """Whether this attempt has ended."""
        return self.outcome is not None or self.ended is not None

    @property
    def unexplained(self) -> bool:
        """Whether SIGTERM ended its run and the cluster has not told yet how the job ended."""
        return self.outcome is Outcome.INTERRUPTED and self.ended is None and self.reason.startswith("SIGTERM")


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial. ``config``: its resolved configuration. ``evaluated``: the parameters that vary, as a flat dict.

    - ``failures``: counted towards ``max_failures``.
    - ``last_failure``: the newest of these failures, after which it was tried again.
    - ``interruptions``: attempts in a row that ended without a new result and without a failure of the trial.
    - ``growths``: how often its request has grown.
    - ``given_up``: the number of the last attempt that hung.
    - ``not_before``: no attempt starts earlier than this (Unix seconds).
    - ``stated``: what it has stated itself as its configuration, by ``report(config=...)``.
    - ``released_at``: when its last attempt was over (Unix seconds).
    - ``milestone``: a value of ``milestone_attr`` at which it waits for a decision; ``milestone_then``: the one after.
    - ``ends_at_value``: the value of ``milestone_attr`` at which it ends by itself.
    - ``until``: if it is not None, neither the scheduler nor a stopper decides on the trial. It ends at this value of
      the scheduler's time, or by itself if that is 0.
    - ``stop``: the reason why the trial was told to stop.
    - ``restore``: the checkpoint from which its next attempt starts (relative to the experiment, or absolute). That is
      its own newest one, one copied from another trial, or, if it has none yet, ``origin``, which it was given.
    - ``restore_iteration``: the training iteration of that checkpoint.
    """

    trial_id: str
    index: int
    name: str
    dirname: str
    tag: str
    config: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    resources: Resources
    added_at: float
    phase: Phase = Phase.PENDING
    attempt: Attempt | None = None
    attempts: int = 0
    failures: int = 0
    interruptions: int = 0
    growths: int = 0
    given_up: int = 0
    not_before: float = 0.0
    results: int = 0
    overruns: int = 0
    last: Mapping[str, Any] = field(default_factory=dict)
    last_iteration: int = 0
    stated: Mapping[str, Any] = field(default_factory=dict)
    seen_metric: bool = False
    checkpoints: tuple[CheckpointRef, ...] = ()
    origin: str | None = None
    restore: str | None = None
    restore_iteration: int = 0
    stop: str | None = None
    stop_at: float | None = None
    leave: VacateReason | None = None
    milestone: float | None = None
    milestone_attr: str = "training_iteration"
    milestone_pause: bool = False
    milestone_then: float | None = None
    ends_at_value: float | None = None
    until: float | None = None
    answered: float | None = None
    reason: str = ""
    error: ErrorInfo | None = None
    last_failure: ErrorInfo | None = None
    started_at: float | None = None
    ended_at: float | None = None
    released_at: float = 0.0
    finalized: bool = False

    @property
    def run(self) -> RunKey | None:
        """The run that holds the current attempt, if one does."""
        if self.attempt is None or self.attempt.restart < 0:
            return None
        return RunKey(self.trial_id, self.attempt.number, self.attempt.restart)

    @property
    def shown_config(self) -> dict[str, Any]:
        """Its configuration for people: with what it has stated itself, without the private entry."""
        return {**{name: value for name, value in self.config.items() if name != PRIVATE}, **self.stated}

    @property
    def varied(self) -> dict[str, Any]:
        """The parameters that vary, and those that it has stated, as a flat dict."""
        return {**self.evaluated, **flatten(self.stated)}

    @property
    def has_open_milestone(self) -> bool:
        """Whether it must wait for a decision at a later result."""
        return self.milestone is not None and (self.answered is None or self.answered < self.milestone)

    @property
    def newest_checkpoint(self) -> CheckpointRef | None:
        """The newest checkpoint of this trial itself."""
        return self.checkpoints[-1] if self.checkpoints else None
