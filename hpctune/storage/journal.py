"""The journal: every event of an experiment, in order, in segments ``journal/000001.jsonl``, ``000002.jsonl``, ...

Each driver creates a new segment exclusively. Its first line tells how many bytes of the previous segment count:
whatever a zombie driver writes to the old segment after that is not part of the journal. A segment with an incomplete
first line contains nothing (its driver died at that moment), and the next segment follows the one before it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hpctune.common import forks
from hpctune.errors import JournalError, LeaseLostError, StorageError
from hpctune.model.events import Recorded
from hpctune.storage import codec, permissions, values
from hpctune.storage.atomic import sync_directory

JOURNAL_VERSION = 1


class Journal:
    """The writer; one for each driver.

    Open it only under the lease, and before the journal is read: it fixes the length of the previous segment.
    """

    def __init__(self, directory: Path) -> None:
        try:
            permissions.make_directory(directory, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot create {directory}: {error.strerror or error}.") from error
        self.directory = directory
        earlier = _segments(directory)
        self.number = int(earlier[-1].stem) + 1 if earlier else 1
        self.path = directory / f"{self.number:06d}.jsonl"
        header: dict[str, Any] = {"segment": self.number, "version": JOURNAL_VERSION}
        previous = next((path for path in reversed(earlier) if _header(path) is not None), None)
        if previous is not None:
            header |= {"follows": int(previous.stem), "bytes": _complete_bytes(previous)}
        self._fd = self._create()
        self._end = 0
        """The offset at which the last complete append ends. The rest of a failed append is cut off."""
        self._durable = 0
        self._pending = bytearray()
        """The data that was appended after ``_durable``."""
        self._torn = self._doubtful = False
        forks.own(self)
        try:
            self._write(f"{values.dumps(header)}\n".encode())
        except StorageError:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._fd)
            raise
        sync_directory(directory)

    def _create(self) -> int:
        try:
            mode = permissions.mode_in(self.directory)
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            permissions.fix_mode(fd, mode)
            return fd
        except FileExistsError as error:
            raise LeaseLostError(f"Another driver has just taken over: {self.path} exists.") from error
        except OSError as error:
            raise StorageError(f"Cannot create {self.path}: {error.strerror or error}.") from error

    def append(self, groups: Iterable[Sequence[Recorded]]) -> None:
        """Append groups of events. After a crash the journal has all groups or the first ones, and no partial group.

        An event and the decisions that follow from it are one group. Raises StorageError if the write fails; then no
        part of it is left in the file.
        """
        self._write("".join(f"{codec.encode_group(group)}\n" for group in groups).encode())

    def _write(self, payload: bytes) -> None:
        try:
            if self._torn:
                self._cut()
            self._torn = True
            _write_at(self._fd, payload, self._end)
            self._torn = False
        except OSError as error:
            with contextlib.suppress(OSError):
                self._reopen(error)
                self._cut()
            raise StorageError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._end += len(payload)
        self._pending += payload

    def _reopen(self, error: OSError) -> None:
        """After ESTALE, open the file again, since the descriptor will never work; data not durable is rewritten."""
        if error.errno == errno.ESTALE:
            fd = os.open(self.path, os.O_WRONLY)
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd, self._doubtful = fd, True

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._end)
        self._torn = False

    def sync(self) -> None:
        """Make all appended data durable, and visible to other nodes. Raises StorageError if the write fails."""
        if not self._pending:
            return
        try:
            if self._doubtful:  # after a failed fsync the kernel drops the data, so it must be written again
                _write_at(self._fd, self._pending, self._durable)
            self._doubtful = True
            os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._reopen(error)
            raise StorageError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self._doubtful = False
        self._durable = self._end
        self._pending.clear()

    def forget(self) -> None:
        """In a forked child: close the file; what is not durable yet is the parent's business."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._pending.clear()

    def close(self) -> None:
        """Sync and close; idempotent."""
        if self._fd >= 0:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = -1


def _write_at(fd: int, data: bytes | bytearray, offset: int) -> None:
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, data[written:], offset + written)


def read(directory: Path, *, sealed_ok: bool = False, naming: str = "") -> Iterator[Recorded]:
    """Every event, oldest first. An incomplete last line is ignored.

    ``naming``: parse only lines that contain this text, such as the name of an event or a trial, which is fast. A
    config that cannot or must not be unpickled here is an error, or with ``sealed_ok`` a ``values.Sealed``. Raises
    JournalError if a complete line cannot be read (the message has file and line), or if a segment is missing.
    """
    for path, limit in segments(directory):
        try:
            yield from _read_segment(path, limit, sealed_ok, naming.encode())
        except OSError as error:
            raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error


def segments(directory: Path) -> list[tuple[Path, int | None]]:
    """The files of the journal in order, each with the number of its bytes that count; None: all.

    Raises JournalError if a segment is missing.
    """
    intact = [(path, header) for path in _segments(directory) if (header := _header(path)) is not None]
    for number, (path, header) in enumerate(intact):
        before = int(intact[number - 1][0].stem) if number else None
        if header.get("follows") != before:
            raise JournalError(f"{path} follows segment {header.get('follows')}, which is missing.")
    limits = [int(header["bytes"]) for _, header in intact[1:]]
    return [(path, limit) for (path, _), limit in zip(intact, [*limits, None], strict=False)]


def _read_segment(path: Path, limit: int | None, sealed_ok: bool, naming: bytes) -> Iterator[Recorded]:
    offset = 0
    with path.open("rb") as file:
        trusted = values.trusted(os.fstat(file.fileno()))
        for number, line in enumerate(file, 1):
            offset += len(line)
            if not line.endswith(b"\n") or (limit is not None and offset > limit):
                return
            if number == 1 or naming not in line:
                continue
            try:
                group = codec.decode_group(json.loads(line), trusted=trusted)
            except JournalError as error:
                raise JournalError(f"{path}, line {number}: {error}") from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise JournalError(f"{path}, line {number}, cannot be read: {error!r}.") from error
            for recorded in group:
                config = getattr(recorded.event, "config", None)
                if isinstance(config, values.Sealed) and not sealed_ok:
                    raise JournalError(f"{path}, line {number}: a trial's config cannot be read: {config.why}.")
            yield from group


def _segments(directory: Path) -> list[Path]:
    try:
        return sorted(p for p in directory.iterdir() if p.suffix == ".jsonl" and p.stem.isdigit())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"Cannot read {directory}: {error.strerror or error}.") from error


def _header(path: Path) -> dict[str, Any] | None:
    """The first line of a segment; None if it is not complete."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
    if not line.endswith(b"\n"):
        return None
    try:
        header: dict[str, Any] = json.loads(line)
        newer = int(header["version"]) > JOURNAL_VERSION
        int(header["segment"]), int(header.get("follows", 0)), int(header.get("bytes", 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"{path}, line 1, is not the header of a journal segment: {error!r}.") from error
    if newer:
        raise JournalError(
            f"{path} was written by a newer hpctune (journal format {header['version']}, this one reads up to "
            f"{JOURNAL_VERSION}). Upgrade: pip install --upgrade hpctune"
        )
    return header


def _complete_bytes(path: Path) -> int:
    """The number of bytes of ``path`` up to its last line end."""
    try:
        return path.read_bytes().rfind(b"\n") + 1
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror or error}.") from error
