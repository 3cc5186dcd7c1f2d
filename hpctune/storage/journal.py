"""The journal: every fact of an experiment, in order, in segments ``journal/000001.jsonl``, ``000002.jsonl``, ...

Each driver opens a new segment by exclusive create. Its first line says how many bytes of its predecessor it has
folded in: what a zombie driver writes to the old segment after that is not part of the journal.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpctune.errors import JournalError, LeaseLostError, StorageError
from hpctune.model.events import Recorded
from hpctune.storage import codec, values
from hpctune.storage.atomic import sync_directory

JOURNAL_VERSION = 1


class Journal:
    """The writing end; one per driver. Open it only under the lease."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        previous = _segments(directory)
        self._previous: Path | None = previous[-1] if previous else None
        self._folded = _complete_bytes(previous[-1]) if previous else 0
        self.number = int(previous[-1].stem) + 1 if previous else 1
        self.path = directory / f"{self.number:06d}.jsonl"
        self._fd = self._create()
        self._unsynced = True

    def _create(self) -> int:
        header: dict[str, Any] = {"segment": self.number, "version": JOURNAL_VERSION}
        if self._previous is not None:
            header |= {"follows": int(self._previous.stem), "bytes": self._folded}
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError as error:
            raise LeaseLostError(f"Another driver has just taken over: {self.path} exists.") from error
        except OSError as error:
            raise StorageError(f"Cannot create {self.path}: {error.strerror or error}.") from error
        os.write(fd, f"{values.dumps(header)}\n".encode())
        sync_directory(self.directory)
        return fd

    def append(self, recorded: Sequence[Recorded]) -> None:
        """Append facts, all or (after a crash) a prefix of them. Raises StorageError when the disk refuses;
        nothing that was refused is left in the file."""
        payload = "".join(f"{codec.encode(r)}\n" for r in recorded).encode()
        start = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(payload):
                written += os.write(self._fd, payload[written:])
        except OSError as error:
            os.ftruncate(self._fd, start)
            raise StorageError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._unsynced = True

    def sync(self) -> None:
        """Make everything appended durable, and visible to other nodes."""
        if self._unsynced:
            os.fsync(self._fd)
            self._unsynced = False

    def close(self) -> None:
        """Sync and close; idempotent."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1


def read(directory: Path) -> Iterator[Recorded]:
    """Every fact, oldest first. A torn last line is not there (yet).

    Raises JournalError where a complete line in the middle cannot be read, with file and line.
    """
    segments = _segments(directory)
    limits = {path: _folded_by(successor) for path, successor in itertools.pairwise(segments)}
    for path in segments:
        yield from _read_segment(path, limits.get(path))


def _read_segment(path: Path, limit: int | None) -> Iterator[Recorded]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            offset += len(line)
            if not line.endswith(b"\n") or (limit is not None and offset > limit):
                return
            try:
                data = json.loads(line)
                if "segment" in data:
                    continue
                recorded = codec.decode(data)
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(f"{path}, line {number}, cannot be read: {error!r}. Repair: hpctune fsck") from error
            yield recorded


def _segments(directory: Path) -> list[Path]:
    try:
        return sorted(p for p in directory.iterdir() if p.suffix == ".jsonl" and p.stem.isdigit())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"Cannot read {directory}: {error.strerror or error}.") from error


def _folded_by(successor: Path) -> int | None:
    """How much of its predecessor the segment ``successor`` counts; None where its header is torn."""
    with successor.open("rb") as file:
        line = file.readline()
    try:
        return int(json.loads(line)["bytes"]) if line.endswith(b"\n") else None
    except (ValueError, KeyError) as error:
        raise JournalError(f"{successor} has no readable header.") from error


def _complete_bytes(path: Path) -> int:
    """Bytes of ``path`` up to its last line end."""
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
