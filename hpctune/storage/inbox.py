"""Commands from the CLI to the driver: one line each, appended under a lock, read by offset."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpctune.errors import StorageError
from hpctune.storage import values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Lock

LOCK_S = 30.0
"""Seconds to wait for others that post."""


@dataclass(frozen=True, slots=True)
class Command:
    """``action`` "stop": end these trials (ids), or with no ``targets`` the whole experiment."""

    command_id: str
    action: str
    targets: tuple[str, ...] = ()


def post(paths: ExperimentPaths, action: str, targets: Sequence[str] = ()) -> Command:
    """Append a command and return it. It is taken by the driver now, or by the next one."""
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
    """Alone with the inbox. Where the filesystem has no locks it goes without: a line is one write, and what two people
    post in the same instant may then be torn, which they see because nothing is stopped."""
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            lock = Lock(paths.inbox_lock)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
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
    """The driver's end."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._path, self._offset = paths.inbox, 0

    def read(self) -> list[Command]:
        """Commands that are complete and new to this reader, oldest first."""
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
