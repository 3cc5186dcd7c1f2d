"""The right to drive an experiment: a file lock, and a lease file that says who, where, since when, and still alive.

The lock (flock) dies with its process. Where a lock does not reach across nodes, the lease file is the second witness:
its holder changes ``beat`` every few seconds, and nobody takes over from another host while it changes.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hpctune.errors import DriverAliveError, LeaseLostError, StorageError
from hpctune.storage import atomic, values
from hpctune.storage.layout import ExperimentPaths

BEAT_S = 5.0
"""Seconds between two changes of ``beat``."""
TAKEOVER_S = 20.0
"""Seconds for which another host's lease must not change before it is taken over."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who drives. ``beat`` counts up while it lives; ``released`` when it left in good order."""

    host: str
    pid: int
    since: float
    epoch: int
    beat: int = 0
    released: bool = False

    def describe(self) -> str:
        """Who, where, since when: for messages."""
        since = datetime.fromtimestamp(self.since).strftime("%Y-%m-%d %H:%M:%S")
        return f"process {self.pid} on {self.host}, since {since}"


class Lease:
    """Held from construction until :meth:`release`. Raises DriverAliveError when somebody else drives."""

    def __init__(self, paths: ExperimentPaths, now: float) -> None:
        import filelock

        self._paths = paths
        self._lock = filelock.FileLock(paths.lock)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise _alive(paths, read(paths)) from error
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                f"Cannot lock {paths.lock}: {error}. Is the directory writable, and does its filesystem have locks?"
            ) from error
        previous = read(paths)
        try:
            _await_silence(paths, previous)
        except BaseException:
            self._lock.release()
            raise
        epoch = previous.epoch + 1 if previous else 1
        self.holder = Holder(socket.gethostname(), os.getpid(), now, epoch)
        self._beaten_at = now
        self._publish()

    def beat(self, now: float) -> None:
        """Show that we live (at most every :data:`BEAT_S`). Raises LeaseLostError when another driver took over."""
        if now - self._beaten_at < BEAT_S:
            return
        current = read(self._paths)
        if current is not None and current.epoch != self.holder.epoch:
            raise LeaseLostError(f"Another driver took over: {current.describe()}. This one leaves.")
        self._beaten_at = now
        self.holder = Holder(**{**asdict(self.holder), "beat": self.holder.beat + 1})
        self._publish()

    def release(self) -> None:
        """Give the right back."""
        self.holder = Holder(**{**asdict(self.holder), "released": True})
        try:
            self._publish()
        finally:
            self._lock.release()

    def _publish(self) -> None:
        atomic.write(self._paths.lease, values.dumps(asdict(self.holder)) + "\n")


def read(paths: ExperimentPaths) -> Holder | None:
    """The last known holder, or None when there never was one."""
    try:
        data: dict[str, Any] = json.loads(paths.lease.read_bytes())
        return Holder(**data)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"Cannot read {paths.lease}: {error}.") from error


def alive(holder: Holder | None, *, now: float, mtime: float) -> bool | None:
    """Whether the holder drives now, as far as can be told without waiting: None when it cannot be told from here."""
    if holder is None or holder.released:
        return False
    if holder.host == socket.gethostname():
        return _process_exists(holder.pid)
    return True if now - mtime < TAKEOVER_S else None


def _await_silence(paths: ExperimentPaths, previous: Holder | None) -> None:
    """We have the lock. If another host's driver may live all the same, watch whether its lease still changes."""
    if previous is None or previous.released or previous.host == socket.gethostname():
        return
    deadline = time.monotonic() + TAKEOVER_S
    while time.monotonic() < deadline:
        time.sleep(BEAT_S / 5)
        current = read(paths)
        if current is None or current.released:
            return
        if current != previous:
            raise _alive(paths, current)


def _alive(paths: ExperimentPaths, holder: Holder | None) -> DriverAliveError:
    who = holder.describe() if holder is not None else "a process that has not said its name yet"
    return DriverAliveError(
        f"Experiment {paths.root} is being driven already: {who}. "
        f"Watch it with: hpctune status {paths.root}. Stop it with: hpctune stop {paths.root}"
    )


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
