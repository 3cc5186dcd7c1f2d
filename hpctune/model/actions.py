"""The actions that the plan requests and the driver performs. Each may be repeated without harm."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.model.ids import RunKey


@dataclass(frozen=True, slots=True)
class Submit:
    """Publish the control file of the trial's attempt, then submit its job."""

    trial_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Claim the run key for the driver. If a job has claimed it already, that job belongs to the attempt."""

    run: RunKey
    reason: str


@dataclass(frozen=True, slots=True)
class PublishControl:
    """Bring the trial's control file up to date."""

    trial_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a job."""

    job_id: str
    why: str


@dataclass(frozen=True, slots=True)
class DeleteCheckpoint:
    trial_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Finalize:
    """Complete the projections of an ended trial, then remove its control and run files."""

    trial_id: str


Action = Submit | Revoke | PublishControl | Cancel | DeleteCheckpoint | Finalize
