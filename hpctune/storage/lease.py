"""The right to drive an experiment: a file lock, and a lease file that says who drives, where, since when.

The lock ends with its process. On some filesystems a lock does not reach across nodes, and some have no locks. There
the lease file decides: its holder changes ``beat`` every few seconds (its heartbeat), and no other host takes over
while it changes. A watcher measures this on its own monotonic clock, since the clocks of nodes and file servers may
differ by minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from hpctune.common.log import log
from hpctune.errors import DriverAliveError, LeaseLostError, StorageError
from hpctune.storage import atomic, values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.locks import Lock

HEARTBEAT_S = 5.0
"""Seconds between two changes of ``beat``."""
TAKEOVER_S = 75.0
"""Seconds for which another host's lease must not change before it is taken over: longer than NFS may show an old
directory (60 s by default)."""
PATIENCE_S = HEARTBEAT_S + 2.0
"""Seconds within which a living driver's lease changes, where nothing is cached."""
SETTLE_S = 3.0
"""Where there are no locks: seconds after which of several that took the lease at once the last one has it."""
_SKEW_S = 2.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who drives. ``beat`` counts up while it lives; ``released`` when it left in good order. ``job``: the Slurm job
    that it is in, if any."""

    host: str
    pid: int
    since: float
    epoch: int
    beat: int = 0
    released: bool = False
    job: str = ""

    def describe(self) -> str:
        """Who, where, since when: for messages."""
        since = datetime.fromtimestamp(self.since).strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.place}, since {since}"

    @property
    def place(self) -> str:
        """Which process, where."""
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")

    @property
    def who(self) -> tuple[str, int, float, int]:
        """What tells this holder from any other."""
        return (self.host, self.pid, self.since, self.epoch)


@dataclass(frozen=True, slots=True)
class Watch:
    """With what time passes while another host's lease is watched, and who is told that this takes a while."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = log.info


class Lease:
    """Held from construction until :meth:`release`. Raises DriverAliveError when somebody else drives."""

    def __init__(self, paths: ExperimentPaths, now: float, watch: Watch | None = None) -> None:
        self._paths, time_of = paths, watch or Watch()
        try:
            self._lock = Lock(paths.lock)
        except BlockingIOError as error:
            raise _alive(paths, _last_seen(paths)) from error
        except OSError as error:
            raise StorageError(f"Cannot lock {paths.lock}: {error}. Is the directory writable?") from error
        try:
            if not self._lock.real:
                _without_locks(paths, time_of)
            previous = _await_no_heartbeat(paths, time_of)
            epoch = previous.epoch + 1 if previous else 1
            job = os.environ.get("SLURM_JOB_ID", "")
            self.holder = Holder(socket.gethostname(), os.getpid(), now, epoch, job=job)
            self._beaten_at = now
            self._mutex, self._over = threading.Lock(), threading.Event()
            self._publish(durable=True)
            if not self._lock.real:
                time_of.sleep(SETTLE_S)
                if self._other() is not None:
                    raise _alive(paths, self._other())
            _tidy(paths)
        except BaseException:
            self._lock.release()
            raise

    def heartbeat(self, now: float) -> None:
        """Show that we live, at most every :data:`HEARTBEAT_S`. Raises LeaseLostError if another driver took over."""
        if 0 <= now - self._beaten_at < HEARTBEAT_S:
            return
        with self._mutex:
            other = self._other()
            if other is not None:
                raise LeaseLostError(f"Another driver took over: {other.describe()}. This one leaves.")
            self._beaten_at = now
            self._write_heartbeat()

    @property
    def held(self) -> bool:
        """Whether no other driver has taken over. Raises StorageError."""
        return self._other() is None

    def keep(self) -> None:
        """Show that we live from a thread as well: the driver may be held up for minutes, by Slurm or a callback."""
        threading.Thread(target=self._keep, name="hpctune-lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            with self._mutex, contextlib.suppress(StorageError):
                if self._over.is_set() or self._other() is not None:
                    return  # the driver itself finds that out, and leaves
                self._write_heartbeat()

    def _write_heartbeat(self) -> None:
        self.holder = replace(self.holder, beat=self.holder.beat + 1)
        self._publish()

    def release(self) -> None:
        """Give the right back, unless another driver has taken it already. Never fails: the lock ends in any case."""
        self._over.set()
        with self._mutex:
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
    """Whether the holder drives now, as far as can be told without waiting: None when it cannot be told from here.

    ``now`` and ``mtime`` may be of clocks that differ: a lease that looks fresh is taken for that of a living driver,
    one that looks old, or as if from the future, for nothing. :func:`changes` tells more.
    """
    if holder is None or holder.released:
        return False
    if holder.host == socket.gethostname():
        return _process_exists(holder.pid)
    return True if -_SKEW_S <= now - mtime < TAKEOVER_S else None


def changes(paths: ExperimentPaths, holder: Holder, within_s: float, watch: Watch | None = None) -> bool:
    """Whether the lease changes within so many seconds: then its holder lives, or another one has it. Waits."""
    time_of = watch or Watch()
    deadline = time_of.monotonic() + within_s
    while time_of.monotonic() < deadline:
        time_of.sleep(HEARTBEAT_S / 10)
        if _last_seen(paths) not in (holder, None):
            return True
    return False


def is_free(paths: ExperimentPaths, watch: Watch | None = None) -> bool:
    """Whether nobody seems to drive, so that it is worth trying to take the lease: nobody ever did, the last driver has
    left or died, or its lease has not changed for so long that it may be taken over. Waits for that long."""
    holder = read(paths)
    if holder is None or holder.released:
        return True
    if holder.host == socket.gethostname():
        return not _process_exists(holder.pid)
    return not changes(paths, holder, TAKEOVER_S, watch)


def _without_locks(paths: ExperimentPaths, watch: Watch) -> None:
    """The lease file is the only witness: a process of this host that exists is believed to drive."""
    watch.tell(f"{paths.root} is on a filesystem without locks (Lustre without flock?): its lease file alone decides.")
    holder = read(paths)
    here = holder is not None and not holder.released and holder.host == socket.gethostname()
    if holder is not None and here and _process_exists(holder.pid):
        raise _alive(paths, holder)


def _tidy(paths: ExperimentPaths) -> None:
    """Remove what drivers left that died while they replaced a file; the lease is ours now."""
    with contextlib.suppress(OSError):
        for name in (paths.lease.name, paths.driver_status.name, paths.spec.name):
            for path in paths.root.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)


def _await_no_heartbeat(paths: ExperimentPaths, watch: Watch) -> Holder | None:
    """The last holder. We have the lock; if another host's driver may live all the same, see whether its lease changes
    within TAKEOVER_S."""
    previous = read(paths)
    if previous is None or previous.released or previous.host == socket.gethostname():
        return previous
    watch.tell(f"Checking whether the previous driver ({previous.place}) is still alive; up to {TAKEOVER_S:g} s.")
    deadline = watch.monotonic() + TAKEOVER_S
    while watch.monotonic() < deadline:
        watch.sleep(HEARTBEAT_S / 5)
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
    """Whether the process runs; one that is dead but not yet reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return True  # no such files here
