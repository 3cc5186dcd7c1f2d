"""The right to drive an experiment: a file lock, and a lease file that says who, where, since when, and still alive.

The lock (flock) dies with its process. Where a lock does not reach across nodes, the lease file is the second witness:
its holder changes ``beat`` every few seconds, and nobody takes over from another host while it changes.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

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

    @property
    def who(self) -> tuple[str, int, float, int]:
        """What tells this holder from any other."""
        return (self.host, self.pid, self.since, self.epoch)


@dataclass(frozen=True, slots=True)
class Watch:
    """With what time passes while another host's lease is watched."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Lease:
    """Held from construction until :meth:`release`. Raises DriverAliveError when somebody else drives."""

    def __init__(self, paths: ExperimentPaths, now: float, watch: Watch | None = None) -> None:
        import filelock

        self._paths = paths
        self._lock = filelock.FileLock(paths.lock, thread_local=False)  # a driver may leave in another thread
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise _alive(paths, _last_seen(paths)) from error
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                f"Cannot lock {paths.lock}: {error}. Is the directory writable, and does its filesystem have locks?"
            ) from error
        try:
            previous = _await_silence(paths, watch or Watch())
            self.holder = Holder(socket.gethostname(), os.getpid(), now, previous.epoch + 1 if previous else 1)
            self._beaten_at = now
            self._publish(durable=True)
        except BaseException:
            self._lock.release()
            raise

    def beat(self, now: float) -> None:
        """Show that we live (at most every :data:`BEAT_S`). Raises LeaseLostError when another driver took over."""
        if now - self._beaten_at < BEAT_S:
            return
        other = self._other()
        if other is not None:
            raise LeaseLostError(f"Another driver took over: {other.describe()}. This one leaves.")
        self._beaten_at = now
        self.holder = replace(self.holder, beat=self.holder.beat + 1)
        self._publish()

    def release(self) -> None:
        """Give the right back, unless another driver has taken it already. Never fails: the lock ends in any case."""
        self.holder = replace(self.holder, released=True)
        try:
            if self._other() is None:
                self._publish(durable=True)
        except StorageError:
            pass  # then the next driver finds a lease that no longer changes
        finally:
            self._lock.release()

    def _other(self) -> Holder | None:
        """Who has taken over from us, if somebody has."""
        current = read(self._paths)
        return current if current is not None and current.who != self.holder.who else None

    def _publish(self, *, durable: bool = False) -> None:
        atomic.write(self._paths.lease, values.dumps(asdict(self.holder)) + "\n", durable=durable)


_FIELDS = frozenset(field.name for field in fields(Holder))


def read(paths: ExperimentPaths) -> Holder | None:
    """The last known holder, or None when there never was one, or a power failure has left an empty file."""
    try:
        text = paths.lease.read_bytes().strip(b"\0 \n")
        return Holder(**{k: v for k, v in json.loads(text).items() if k in _FIELDS}) if text else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"Cannot read {paths.lease}: {error}.") from error


def alive(holder: Holder | None, *, now: float, mtime: float) -> bool | None:
    """Whether the holder drives now, as far as can be told without waiting: None when it cannot be told from here."""
    if holder is None or holder.released:
        return False
    if holder.host == socket.gethostname():
        return _process_exists(holder.pid)
    return True if now - mtime < TAKEOVER_S else None


def _await_silence(paths: ExperimentPaths, watch: Watch) -> Holder | None:
    """The last holder. We have the lock; if another host's driver may live all the same, see whether its lease changes
    within TAKEOVER_S."""
    previous = read(paths)
    if previous is None or previous.released or previous.host == socket.gethostname():
        return previous
    deadline = watch.monotonic() + TAKEOVER_S
    while watch.monotonic() < deadline:
        watch.sleep(BEAT_S / 5)
        current = read(paths)
        if current is None or current.released:
            return current or previous
        if current != previous:
            raise _alive(paths, current)
    return previous


def _alive(paths: ExperimentPaths, holder: Holder | None) -> DriverAliveError:
    who = holder.describe() if holder is not None else "a process that has not said its name yet"
    return DriverAliveError(
        f"Experiment {paths.root} is being driven already: {who}. "
        f"Watch it with: hpctune status {paths.root}. Stop it with: hpctune stop {paths.root}"
    )


def _last_seen(paths: ExperimentPaths) -> Holder | None:
    try:
        return read(paths)
    except StorageError:
        return None


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
