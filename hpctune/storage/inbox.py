"""The inbox: commands from the CLI to the driver, one line each, appended under a lock and read by offset."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.errors import StorageError
from hpctune.storage import values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.locks import Lock

LOCK_S = 30.0
"""Seconds to wait for other processes that post a command."""


STOP, ADD = "stop", "add"
"""The actions of commands."""
NewConfig = tuple[Mapping[str, Any], Mapping[str, Any]]
"""The configuration of a trial that is to be added, and what varies in it, flat."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    ``action`` STOP: end the trials ``targets`` (ids), or, without ``targets``, the whole experiment. ADD: try
    ``trials``, each up to ``until`` (see ``Trial``).
    """

    command_id: str
    action: str
    targets: tuple[str, ...] = ()
    trials: tuple[NewConfig, ...] = ()
    until: float | None = None


def post(
    paths: ExperimentPaths,
    action: str,
    targets: Sequence[str] = (),
    trials: Sequence[NewConfig] = (),
    until: float | None = None,
) -> Command:
    """Append a command and return it. The current driver, or else the next one, executes it."""
    command = Command(uuid.uuid4().hex, action, tuple(targets), tuple(trials), until)
    data: dict[str, Any] = {"id": command.command_id, "action": action, "targets": list(targets)}
    if until is not None:
        data["until"] = until
    if trials:
        data["trials"] = [[values.encode(config), values.encode(evaluated)] for config, evaluated in trials]
    line = values.dumps(data)
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


def waiting(paths: ExperimentPaths, executed: Container[str]) -> bool:
    """Whether trials wait to be added. ``executed``: the ids of the commands that were executed."""
    return any(c.action == ADD and c.command_id not in executed for c in Inbox(paths).read())


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
                trusted = values.trusted(os.fstat(file.fileno()))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        end = data.rfind(b"\n") + 1
        self._offset += end
        return [c for line in data[:end].splitlines() if (c := _parse(line, trusted)) is not None]


def _parse(line: bytes, trusted: bool) -> Command | None:
    """The command in a line; None if it is damaged, or holds pickles that another user may have written."""
    try:
        data = json.loads(line)
        trials = [(_decoded(config, trusted), _decoded(varied, trusted)) for config, varied in data.get("trials", ())]
        return Command(data["id"], data["action"], tuple(data["targets"]), tuple(trials), data.get("until"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _decoded(data: Any, trusted: bool) -> Mapping[str, Any]:
    value = values.decode(data, trusted=trusted)
    if not isinstance(value, Mapping):
        raise TypeError("no configuration")
    return value
