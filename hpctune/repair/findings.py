"""Findings of a check, and their repairs. Values only: checks make them, ``perform`` carries them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.storage.checkpoints import Progress


@dataclass(frozen=True, slots=True)
class Rewrite:
    """``path`` shall hold ``data``. ``aside``: what it held that is not good, to be kept in quarantine."""

    path: Path
    data: bytes
    aside: bytes = b""


@dataclass(frozen=True, slots=True)
class MoveAside:
    """``path``, a file or a directory, goes into quarantine as it is."""

    path: Path


@dataclass(frozen=True, slots=True)
class Remove:
    """``path`` is an unfinished or half-deleted file: nothing of it is needed."""

    path: Path


@dataclass(frozen=True, slots=True)
class SetMode:
    path: Path
    mode: int


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A fact that the journal lacks."""

    event: e.Event


@dataclass(frozen=True, slots=True)
class ReplaceJournal:
    """The whole journal, again: file names and what they hold. The old one goes into quarantine as it is."""

    segments: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class RepublishControl:
    trial_id: str


@dataclass(frozen=True, slots=True)
class RebuildFiles:
    """Rebuild these files of the trial from the journal."""

    trial_id: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RebuildPolicyLog:
    """Rebuild the log of exploits from the journal: these files of the experiment's directory."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteProgress:
    """Say again how far the trial was at the checkpoint in ``path``."""

    path: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class RevokeRun:
    """Claim the run key in the driver's name, over a run file without a claim."""

    path: Path
    run: RunKey


@dataclass(frozen=True, slots=True)
class WriteLease:
    """A lease that was left, of an epoch not below ``epoch``."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """Take the lease and release it, which records that no driver runs."""


@dataclass(frozen=True, slots=True)
class CancelJobs:
    job_ids: tuple[str, ...]


Fix = (
    Rewrite
    | MoveAside
    | Remove
    | SetMode
    | RecordEvent
    | ReplaceJournal
    | RepublishControl
    | RebuildFiles
    | RebuildPolicyLog
    | WriteProgress
    | RevokeRun
    | WriteLease
    | ReleaseLease
    | CancelJobs
)
FIRST = (SetMode, WriteLease, ReplaceJournal)
"""Kinds to repair before the rest can be checked, in this order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    ``kind``: a word or two, always the same for the same kind of damage. ``where``: relative to the experiment.
    ``what``: what is wrong. ``action``: what a repair does, in the past tense; or, if there is no ``fix``, what you
    can do. ``note``: it harms nothing, or mends itself when a driver goes on. ``held``: it is mended
    only when asked for.
    """

    kind: str
    where: str
    what: str
    action: str = ""
    fix: Fix | None = None
    note: bool = False
    held: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "where": self.where, "what": self.what, "action": self.action}


def problems(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are not mere notes."""
    return [f for f in findings if not f.note]


def mendable(findings: Sequence[Finding]) -> list[Finding]:
    """The findings to repair now."""
    return [f for f in problems(findings) if f.fix is not None and not f.held]
