"""The inbox: commands from the CLI to the driver, one line each, appended under a lock and read by offset."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpctune.errors import StorageError
from hpctune.storage import values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.locks import Lock

LOCK_S = 30.0
"""Seconds to wait for other processes that post a command."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``action`` "stop": end these trials (ids), or, without ``targets``, the whole experiment."""

    command_id: str
    action: str
    targets: tuple[str, ...] = ()


def post(paths: ExperimentPaths, action: str, targets: Sequence[str] = ()) -> Command:
    """Append a command and return it. The current driver, or else the next one, executes it."""
    command = Command(uuid.uuid4().hex, action, tuple(targets))
    line = values.dumps({"id": command.command_id, "action": action, "targets": list(targets)})
    try:
        with _locked(paths):
            torn = _ends_torn(paths)
            fd = os.open(paths.inbox, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                payload = (f"\n{line}\n" if torn else f"{line}\n").encode()
                if os.write(fd, payload) < len(payload):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(fd)
            finally:
                os.close(fd)
    except OSError as error:
        raise StorageError(f"Cannot write {paths.inbox}: {error}.") from error
    return command


@contextlib.contextmanager
def _locked(paths: ExperimentPaths) -> Iterator[None]:
    """Hold the inbox's lock.

    On a filesystem without locks nothing is held. A line is one write, so only two lines that are posted in the same
    instant may be damaged. Then nothing is stopped, and both users see that.
    """
    lock = Lock(paths.inbox_lock, LOCK_S)
    try:
        yield
    finally:
        lock.release()


def _ends_torn(paths: ExperimentPaths) -> bool:
    try:
        data = paths.inbox.read_bytes()
    except FileNotFoundError:
        return False
    return bool(data) and not data.endswith(b"\n")


class Inbox:
    """The driver's reader of the inbox."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._path, self._offset = paths.inbox, 0

    def read(self) -> list[Command]:
        """Complete commands that this reader has not returned yet, oldest first."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [c for line in data[:end].splitlines() if (c := _parse(line)) is not None]


def _parse(line: bytes) -> Command | None:
    try:
        data = json.loads(line)
        return Command(data["id"], data["action"], tuple(data["targets"]))
    except (ValueError, KeyError, TypeError):
        return None
