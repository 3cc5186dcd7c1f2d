"""The run file ``run-A.R.jsonl``: created exclusively as a claim, appended by its run only, read by the driver.

Its lines are a claim, then results, then one exit record. An incomplete last line is ignored until it is complete.
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

_RESULT = re.compile(r'\{"seq":(\d+)(?:,"checkpoint":"([^"\\]*)"(?:,"bytes":(\d+))?)?,"row":(\{.*\})\}')
"""A result as :meth:`RunFile.result_text` writes it."""
SOME = 1 << 16
"""Bytes that are read at a time if a file has a lot of new data: a few hundred results."""
_CONSTANT = ',"trial_id":'
"""The start of that part of a row that is the same in all rows of a run."""
_from_text = json.JSONDecoder().decode


class RunFile:
    """The writer, used by the run itself."""

    def __init__(self, path: StrPath, run: RunKey) -> None:
        self.path, self.run = path, run
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.seq = 0
        self._end = os.fstat(self._fd).st_size
        """The offset at which the last complete line ends."""
        self._torn = False
        forks.own(self)

    @classmethod
    def claim(cls, path: StrPath, claim: Claim) -> RunFile | None:
        """Claim the run key; None if it is claimed already."""
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

    def result(self, row: Mapping[str, Any], checkpoint: str | None = None, size: int | None = None) -> int:
        """Append one result and return its number. ``size``: the bytes of the checkpoint, if known."""
        return self.result_text(values.dumps(row), checkpoint, size)

    def result_text(self, row: str, checkpoint: str | None = None, size: int | None = None) -> int:
        """Like :meth:`result`, with the row as one line of JSON."""
        named = f',"checkpoint":{json.dumps(checkpoint)}' if checkpoint else ""
        if checkpoint and size is not None:
            named += f',"bytes":{size}'
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
        checkpoint_bytes: int | None = None,
    ) -> None:
        """Append the exit record and close the file, so that all nodes see it. The journal makes it durable."""
        record: dict[str, Any] = {"exit": outcome.value, "reason": reason, "at": at}
        if error is not None:
            record["error"] = error.to_json()
        if checkpoint is not None:
            record |= {"checkpoint": checkpoint, "checkpoint_iteration": checkpoint_iteration}
            record |= {} if checkpoint_bytes is None else {"bytes": checkpoint_bytes}
        self._append(values.dumps(record) + "\n")
        self.close()

    def is_gone(self) -> bool:
        """Whether the file was removed, which the driver does after the run is over; False if nothing can be said."""
        try:
            os.stat(self.path)
        except FileNotFoundError:
            return True
        except OSError as error:
            return error.errno == errno.ENOTDIR
        return False

    def sync(self) -> None:
        """Make the appended data visible to other nodes: NFS sends it when any descriptor of the file is closed.

        On a local disk this costs nothing. It does not protect from a power failure; the journal does.
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
        payload = b"\n" * self._torn + line.encode()  # an incomplete line that is still there becomes its own line
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
        """Cut off the part that a failed write has left: on a full disk the exit record needs that space."""
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
    """The reader. Each :meth:`read` opens the file and returns the records completed since the last one."""

    __slots__ = ("_constant", "_end_of_row", "_offset", "behind", "path", "run")

    def __init__(self, path: StrPath, run: RunKey) -> None:
        self.path, self.run, self._offset = str(path), run, 0
        self.behind = False
        """Whether the last :meth:`read` left data for the next one."""
        self._end_of_row, self._constant = "", dict[str, Any]()
        """The constant part of the previous row: its text, and its parsed values."""

    def read(self, some: bool = False) -> list[RunRecord]:
        """New complete records, oldest first. Empty if the file does not exist (yet).

        ``some``: read only about :data:`SOME` bytes.
        """
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
        """The record in ``line``; None for a line that was damaged by a crash during a write."""
        try:
            text = line.decode()
            result = _RESULT.fullmatch(text)
            if result is None:
                return parse_record(self.run, _from_text(text))
            seq, checkpoint, size, row = result.groups()
            return ResultRow(self.run, int(seq), self._row(row), checkpoint, int(size) if size else None)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def _row(self, text: str) -> Row:
        """The row. Its constant end is parsed only if it differs from that of the row before.

        The text is split in two, and each part is parsed as an object of its own; together they are the row. If the
        split is inside a nested value, one part cannot be parsed, and the whole text is parsed instead.
        """
        end = self._end_of_row
        try:
            if not end or not text.endswith(end):
                end = text[text.index(_CONSTANT) :]
                self._end_of_row, self._constant = end, _from_text("{" + end[1:])
            row = Row(_from_text(text[: -len(end)] + "}"), text)
        except ValueError:
            return Row(_from_text(text), text)
        row.update(copied(self._constant))  # a copy, so that a change of one row does not change others
        return row


def parse_record(run: RunKey, data: Mapping[str, Any]) -> RunRecord:
    """The record in one parsed line of the file of ``run``."""
    if "row" in data:
        return ResultRow(run, data["seq"], data["row"], data.get("checkpoint"), data.get("bytes"))
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
            data.get("bytes"),
        )
    nodes, restored = data.get("nodes", ""), data.get("restored")
    return Claim(run, data["job_id"], data["host"], data["pid"], data["at"], nodes, restored, data.get("job_began"))


def checkpoints_before(run: RunKey, earlier: Sequence[RunRecord]) -> Iterator[str]:
    """The checkpoints of its attempt that ``run`` may start from, newest first.

    ``earlier``: the records of earlier runs. Only those of the predecessor count, and the checkpoint from which it
    started. An older run may still live on a lost node, and a checkpoint that it saves after it was superseded belongs
    to results that do not count.
    """
    for record in reversed([r for r in earlier if r.run.restart == run.restart - 1]):
        name = record.checkpoint if isinstance(record, ResultRow) else getattr(record, "restored", None)
        if name:
            yield name


def revoke(path: StrPath, run: RunKey, at: float) -> bool:
    """Claim ``run`` for the driver, so that no job can claim it any more. Returns False if a job has claimed it."""
    claim = {"claim": [run.trial_id, run.attempt, run.restart], "job_id": "", "host": "", "pid": 0, "at": at}
    end = {"exit": Outcome.REVOKED.value, "reason": "revoked before any job claimed it", "at": at}
    return atomic.create_exclusively(path, f"{values.dumps(claim)}\n{values.dumps(end)}\n".encode())
