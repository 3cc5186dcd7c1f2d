"""The files of one local job. By them any later driver finds it; a kill at any moment neither loses nor doubles it.

The driver writes ``jobs/ID.json`` before the start, and again at a cancel. ``jobs/ID.run`` is created exclusively,
either by the started process (``started PID TICKS``, at its end ``exited CODE``) or by a driver that gives up on the
start (``revoked``). The creator wins: a process that comes too late ends without running anything.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hpctune.cluster.local.allocation import Allocation
from hpctune.cluster.local.machine import Place
from hpctune.model.ids import Tag
from hpctune.storage import atomic

WRAPPER_SCRIPT = r"""
record=$1; shift
{ read -r stat < /proc/$$/stat; } 2>/dev/null
ticks=$(set -- ${stat##*\) }; echo "${20}")
trap : HUP INT USR1 USR2
set -C
{ printf 'started %s %s\n' "$$" "$ticks" > "$record"; } 2>/dev/null || exit 0
set +C
"$@"
code=$?
trap '' HUP INT TERM
kill -TERM 0
printf 'exited %s\n' "$code" >> "$record"
"""
"""The shell script that wraps one job. It records its own start, runs the command, ends the processes that the command
left in its process group, and records the end. Only a cancel sends SIGTERM, which ends the script and the command
together: a handler would lose a signal that arrives between the shell's fork and exec. The job is over when no process
of its session lives."""


@dataclass(slots=True)
class LocalRecord:
    """The record of one job, written by its driver. ``cancelled_at``: Unix seconds of the first cancel."""

    job_id: str
    tag: Tag
    place: Place
    share: Allocation
    driver: tuple[int, str] = (0, "")
    cancelled_at: float | None = None
    path: Path = field(default_factory=Path)

    @property
    def run_path(self) -> Path:
        return self.path.with_suffix(".run")

    def write(self) -> None:
        """Write the record to its file. Raises StorageError."""
        data = {
            "tag": str(self.tag),
            "place": asdict(self.place),
            **self.share.to_json(),
            "driver": list(self.driver),
            "cancelled_at": self.cancelled_at,
        }
        atomic.write(self.path, json.dumps(data) + "\n")

    def remove(self) -> None:
        """Remove both files, the driver's last, so that a job always has its name."""
        for path in (self.run_path, self.path):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    @classmethod
    def read(cls, path: Path) -> LocalRecord | None:
        """The record at ``path``; None if the file is missing or is not such a record."""
        try:
            data = json.loads(path.read_text())
            tag = Tag.parse(data["tag"])
            if tag is None:
                return None
            share = Allocation.from_json(data)
            driver = (int(data["driver"][0]), str(data["driver"][1]))
            return cls(path.stem, tag, Place(**data["place"]), share, driver, data["cancelled_at"], path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None


@dataclass(frozen=True, slots=True)
class RunNote:
    """The content of the ``.run`` file. ``pid`` None: the file is created but not yet written."""

    pid: int | None = None
    ticks: str = ""
    exit_code: int | None = None
    revoked: bool = False


def run_note(path: Path) -> RunNote | None:
    """The note at ``path``; None if it does not exist."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    words = [line.split() for line in lines]
    note = RunNote()
    for parts in words:
        note = _with(note, parts)
    return note


def _with(note: RunNote, parts: Sequence[str]) -> RunNote:
    match parts:
        case ["started", pid, *ticks] if pid.isdigit():
            return RunNote(int(pid), ticks[0] if ticks else "", note.exit_code, note.revoked)
        case ["exited", code] if code.isdigit():
            return RunNote(note.pid, note.ticks, int(code), note.revoked)
        case ["revoked"]:
            return RunNote(note.pid, note.ticks, note.exit_code, True)
        case _:
            return note


def revoke(path: Path) -> bool:
    """Forbid the start of a process that has not written its note yet. Returns False if the note exists."""
    return atomic.create_exclusively(path, b"revoked\n")
