"""The events, which are facts in the past tense. The journal stores them, and the state is computed from them alone.

A field name implies its type: ``run`` is always a RunKey, ``config`` a mapping with any Python values, ``resources`` a
Resources, and so on (see ``storage.codec``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.trial import CheckpointRef, Phase


class Verdict(str, Enum):
    """The verdict on a reported row. Only COUNTED rows reach searchers, schedulers, loggers and analysis."""

    COUNTED = "counted"
    REPEATED = "repeated"
    """An earlier run of the trial has reported this iteration already (the trial was restored from before it)."""
    OVERRUN = "overrun"
    """Reported after the decision to stop."""


@dataclass(frozen=True, slots=True)
class DriverStarted:
    """A driver took the lease. Every submission without an answer is uncertain from now on."""

    epoch: int
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True)
class DriverStopped:
    """A driver ended properly; jobs may go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class TrialAdded:
    """A new trial. ``command``: that of the user who added it. ``until``: as in ``Trial``."""

    trial_id: str
    index: int
    name: str
    dirname: str
    tag: str
    config: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    resources: Resources
    restore: str | None = None
    command: str = ""
    until: float | None = None


@dataclass(frozen=True, slots=True)
class SearchExhausted:
    """The searcher has no more suggestions."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SubmitRequested:
    """An attempt was decided. ``restore``: the checkpoint of its start (relative to the experiment, or absolute)."""

    trial_id: str
    attempt: int
    restore: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitAcknowledged:
    trial_id: str
    attempt: int
    job_id: str


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """Surely no job was created. ``permanent``: no retry; otherwise the next try is at ``not_before``."""

    trial_id: str
    attempt: int
    reason: str
    permanent: bool
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class SubmitUnanswered:
    """It is not known whether a job was created."""

    trial_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptRevoked:
    """The driver claimed the attempt's next run key, so no job of it can run any more."""

    trial_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class JobChanged:
    """The cluster reported a change of a job that is not over."""

    trial_id: str
    attempt: int
    job_id: str
    state: JobState
    reason: str = ""
    nodes: str = ""
    ends_at: float | None = None


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job is over and its run wrote no exit record."""

    trial_id: str
    attempt: int
    state: JobState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunGivenUp:
    """The run has not reported for too long. It counts as failed, and its job is not needed any more."""

    trial_id: str
    attempt: int
    error: ErrorInfo


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run claimed its key. Earlier runs of the trial are superseded from now on."""

    run: RunKey
    job_id: str
    host: str
    pid: int
    nodes: str = ""
    claimed_at: float | None = None
    """Unix seconds by the run's own clock; ``job_began``: when its job's script began, if known."""
    job_began: float | None = None


@dataclass(frozen=True, slots=True)
class ResultReported:
    run: RunKey
    seq: int
    row: Mapping[str, Any]
    verdict: Verdict = Verdict.COUNTED
    checkpoint: CheckpointRef | None = None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run's exit record was read. ``checkpoint``: one that was made after its last result."""

    run: RunKey
    outcome: Outcome
    reason: str
    error: ErrorInfo | None = None
    checkpoint: CheckpointRef | None = None
    left_at: float | None = None
    """Unix seconds by the run's own clock."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The trial must end; ``reason`` tells who decided it."""

    trial_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """The trial must make a checkpoint and end its job."""

    trial_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExploitRequested:
    """The trial must go on from ``restore``, the newest checkpoint of the trial ``donor``, with ``config``.

    ``iteration``: the training iteration of that checkpoint. ``tag``: the trial's new experiment tag.
    """

    trial_id: str
    donor: str
    restore: str
    iteration: int
    config: Mapping[str, Any]
    evaluated: Mapping[str, Any]
    reason: str
    tag: str


@dataclass(frozen=True, slots=True)
class ResourcesChanged:
    """The trial must go on in a job that asks for ``resources``. ``growth``: because its last request was too small."""

    trial_id: str
    resources: Resources
    reason: str
    growth: bool = False


@dataclass(frozen=True, slots=True)
class MilestoneSet:
    """The trial must wait for a decision at its report with this ``value`` of ``attribute``; None: at no report.

    ``pause``: if no decision comes in time, it pauses instead of going on. ``then``: the milestone after it. ``end``:
    the value at which the trial ends in any case.
    """

    trial_id: str
    value: float | None
    attribute: str = "training_iteration"
    pause: bool = False
    then: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class MilestoneAnswered:
    """The trial may go on past ``value``."""

    trial_id: str
    value: float


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The attempt is over and the trial goes on with a new one, from its newest checkpoint.

    ``counts``: whether it counts towards ``max_failures``.
    """

    trial_id: str
    reason: str
    counts: bool
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class TrialPaused:
    trial_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrialResumed:
    """A paused trial waits for an attempt again."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class TrialEnded:
    trial_id: str
    phase: Phase
    reason: str
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class TrialFinalized:
    """All work for the ended trial is done: its projections are complete, its run files are recorded and removed."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class TrialReopened:
    """An ended trial goes on. ``restart``: from scratch; then its earlier results no longer count."""

    trial_id: str
    restart: bool


@dataclass(frozen=True, slots=True)
class CheckpointDeleted:
    trial_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command of the inbox was executed; the events that it caused come before.

    ``action`` is "add" or "stop". A stop without ``targets`` is for the whole experiment.
    """

    command_id: str
    action: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExperimentStopRequested:
    """No new trial starts, and every trial must stop. ``fatal``: the reason is an error of the whole experiment."""

    reason: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentReopened:
    """A resumed driver goes on with an experiment that was stopped or finished."""

    num_samples: int


@dataclass(frozen=True, slots=True)
class BudgetUsed:
    """The total driven time of the experiment is ``seconds``, over all drivers.

    ``held``: what its jobs have held of its budget, in the budget's unit (0.0 without one).
    """

    seconds: float
    held: float = 0.0


@dataclass(frozen=True, slots=True)
class ExperimentEnded:
    """Every trial is over and finalized, and no more are expected."""

    reason: str


TrialEvent = (
    SubmitRequested
    | SubmitAcknowledged
    | SubmitRefused
    | SubmitUnanswered
    | AttemptRevoked
    | JobChanged
    | JobEnded
    | RunGivenUp
    | RunStarted
    | ResultReported
    | RunEnded
    | StopRequested
    | PauseRequested
    | ExploitRequested
    | ResourcesChanged
    | MilestoneSet
    | MilestoneAnswered
    | RetryScheduled
    | TrialPaused
    | TrialResumed
    | TrialEnded
    | TrialFinalized
    | TrialReopened
    | CheckpointDeleted
)
ExperimentEvent = (
    DriverStarted
    | DriverStopped
    | TrialAdded
    | SearchExhausted
    | CommandReceived
    | ExperimentStopRequested
    | ExperimentReopened
    | BudgetUsed
    | ExperimentEnded
)
Event = TrialEvent | ExperimentEvent


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with the time at which its driver recorded it (Unix seconds)."""

    at: float
    event: Event


def trial_id_of(event: TrialEvent) -> str:
    """The id of the trial that ``event`` concerns."""
    if isinstance(event, (RunStarted, ResultReported, RunEnded)):
        return event.run.trial_id
    return event.trial_id
