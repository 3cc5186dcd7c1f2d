"""The run file ``run-A.R.jsonl``: claimed by exclusive create, appended by its run only, tailed by the driver.

Lines: a claim, then results, then one exit record. A torn last line is not there until it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpctune.common import forks
from hpctune.errors import StorageError
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, ErrorInfo, Exit, Outcome, ResultRow, RunRecord
from hpctune.model.rows import Row, copied
from hpctune.storage import atomic, values

if TYPE_CHECKING:
    from _typeshed import StrPath

_RESULT = re.compile(r'\{"seq":(\d+)(?:,"checkpoint":"([^"\\]*)")?,"row":(\{.*\})\}')
"""A result as :meth:`RunFile.result_text` writes it."""
SOME = 1 << 16
"""Bytes that are read at a time of a file with a lot that is new: a few hundred results."""
_CONSTANT = ',"trial_id":'
"""Where the part of a row begins that is the same all through a run."""
_from_text = json.JSONDecoder().decode


class RunFile:
    """The writing end, held by the run itself."""

    def __init__(self, path: StrPath, run: RunKey) -> None:
        self.path, self.run = path, run
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.seq = 0
        self._end = os.fstat(self._fd).st_size
        """Where the last whole line ends."""
        self._torn = False
        forks.own(self)

    @classmethod
    def claim(cls, path: StrPath, claim: Claim) -> RunFile | None:
        """Claim the run key; None when somebody has it already."""
        record: dict[str, Any] = {
            "claim": [claim.run.trial_id, claim.run.attempt, claim.run.restart],
            "job_id": claim.job_id,
            "host": claim.host,
            "pid": claim.pid,
            "at": claim.at,
            "nodes": claim.nodes,
        }
        if claim.restored is not None:
            record["restored"] = claim.restored
        if claim.job_began is not None:
            record["job_began"] = claim.job_began
        if not atomic.create_exclusively(path, values.dumps(record).encode() + b"\n"):
            return None
        return cls(path, claim.run)

    def result(self, row: Mapping[str, Any], checkpoint: str | None = None) -> int:
        """Append one result and return its number."""
        return self.result_text(values.dumps(row), checkpoint)

    def result_text(self, row: str, checkpoint: str | None = None) -> int:
        """Like :meth:`result`, with the row as one line of JSON."""
        named = f',"checkpoint":{json.dumps(checkpoint)}' if checkpoint else ""
        self._append(f'{{"seq":{self.seq + 1}{named},"row":{row}}}\n')
        self.seq += 1
        return self.seq

    def exit(
        self,
        outcome: Outcome,
        reason: str,
        at: float,
        error: ErrorInfo | None = None,
        checkpoint: str | None = None,
        checkpoint_iteration: int = 0,
    ) -> None:
        """Append the exit record and close: then everybody sees it. It becomes durable in the journal."""
        record: dict[str, Any] = {"exit": outcome.value, "reason": reason, "at": at}
        if error is not None:
            record["error"] = error.to_json()
        if checkpoint is not None:
            record |= {"checkpoint": checkpoint, "checkpoint_iteration": checkpoint_iteration}
        self._append(values.dumps(record) + "\n")
        self.close()

    def sync(self) -> None:
        """Let other nodes see what was appended: NFS sends it when any descriptor of the file is closed.

        On a disk of one's own that costs nothing. What must outlast a power failure is durable in the journal.
        """
        os.close(os.dup(self._fd))

    def forget(self) -> None:
        """In a forked child: close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, line: str) -> None:
        payload = b"\n" * self._torn + line.encode()  # what cannot be cut off stays a line of its own
        written = 0
        try:
            while written < len(payload):
                written += os.write(self._fd, payload[written:])
        except OSError as error:
            self._torn = self._torn or written > 0
            self._recover(error)
            raise
        self._torn = False
        self._end += len(payload)

    def _recover(self, error: OSError) -> None:
        """Take back what a refused write has left behind it: on a full disk the last word needs that room."""
        with contextlib.suppress(OSError):
            if error.errno == errno.ESTALE:  # this descriptor will never work again
                new = os.open(self.path, os.O_WRONLY | os.O_APPEND)
                with contextlib.suppress(OSError):
                    os.close(self._fd)
                self._fd = new
            if self._torn:
                os.ftruncate(self._fd, self._end)
                self._torn = False


class RunTail:
    """The reading end: each :meth:`read` opens the file anew and returns what has become complete since."""

    __slots__ = ("_constant", "_end_of_row", "_offset", "behind", "path", "run")

    def __init__(self, path: StrPath, run: RunKey) -> None:
        self.path, self.run, self._offset = str(path), run, 0
        self.behind = False
        """Whether the last :meth:`read` has left something for the next."""
        self._end_of_row, self._constant = "", dict[str, Any]()
        """How the row before ended, from what is the same all through a run, and what that says."""

    def read(self, some: bool = False) -> list[RunRecord]:
        """New complete records, oldest first; nothing when the file is not there (yet). ``some``: not too many."""
        self.behind = False
        try:
            fd = os.open(self.path, os.O_RDONLY)
            try:
                data = self._read_from(fd, some)
            finally:
                os.close(fd)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(f"Cannot read {self.path}: {error.strerror or error}.") from error
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [r for line in data[:end].splitlines() if (r := self._parse(line)) is not None]

    def _read_from(self, fd: int, some: bool) -> bytes:
        os.lseek(fd, self._offset, os.SEEK_SET)
        chunks = []
        while chunk := os.read(fd, SOME):
            chunks.append(chunk)
            if some and len(chunk) == SOME and b"\n" in chunk:
                self.behind = True
                break
        return b"".join(chunks)

    def _parse(self, line: bytes) -> RunRecord | None:
        """The record in ``line``; None for a line that a crash in the middle of a write has garbled."""
        try:
            text = line.decode()
            result = _RESULT.fullmatch(text)
            if result is None:
                return parse_record(self.run, _from_text(text))
            seq, checkpoint, row = result.groups()
            return ResultRow(self.run, int(seq), self._row(row), checkpoint)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _row(self, text: str) -> Row:
        """The row; its end is read only where it differs from that of the row before.

        Two objects, one of which is all of the text before some place and the other all after it, are the row. (Where
        that place is inside of something, one of them cannot be read.)
        """
        end = self._end_of_row
        try:
            if not end or not text.endswith(end):
                end = text[text.index(_CONSTANT) :]
                self._end_of_row, self._constant = end, _from_text("{" + end[1:])
            row = Row(_from_text(text[: -len(end)] + "}"), text)
        except ValueError:
            return Row(_from_text(text), text)
        row.update(copied(self._constant))  # whoever changes one row changes no other
        return row


def parse_record(run: RunKey, data: Mapping[str, Any]) -> RunRecord:
    """The record in one parsed line of the file of ``run``."""
    if "row" in data:
        return ResultRow(run, data["seq"], data["row"], data.get("checkpoint"))
    if "exit" in data:
        error = data.get("error")
        return Exit(
            run,
            Outcome(data["exit"]),
            data["reason"],
            data["at"],
            ErrorInfo.from_json(error) if error else None,
            data.get("checkpoint"),
            data.get("checkpoint_iteration", 0),
        )
    nodes, restored = data.get("nodes", ""), data.get("restored")
    return Claim(run, data["job_id"], data["host"], data["pid"], data["at"], nodes, restored, data.get("job_began"))


def checkpoints_before(run: RunKey, earlier: Sequence[RunRecord]) -> Iterator[str]:
    """The checkpoints of its attempt that ``run`` may start from, newest first; ``earlier``: what earlier runs wrote.

    Only its predecessor counts, and what that started from: a run before that may live on, on a node that was lost,
    and what it saves after it was superseded belongs to results that do not count.
    """
    for record in reversed([r for r in earlier if r.run.restart == run.restart - 1]):
        name = record.checkpoint if isinstance(record, ResultRow) else getattr(record, "restored", None)
        if name:
            yield name


def revoke(path: StrPath, run: RunKey, at: float) -> bool:
    """Make the claim of ``run`` in the driver's name, so that no job ever can; False when a job already has it."""
    claim = {"claim": [run.trial_id, run.attempt, run.restart], "job_id": "", "host": "", "pid": 0, "at": at}
    end = {"exit": Outcome.REVOKED.value, "reason": "revoked before any job claimed it", "at": at}
    return atomic.create_exclusively(path, f"{values.dumps(claim)}\n{values.dumps(end)}\n".encode())
