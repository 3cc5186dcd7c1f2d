"""What the world still owes us: requests of the plan to the driver's shell. Each may be repeated without harm."""

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
    """Claim the key in the driver's name. If a job has it already, that job is the attempt's."""

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
