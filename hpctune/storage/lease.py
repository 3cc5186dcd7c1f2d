"""The lease, which is the right to drive an experiment: a file lock, and a file that names the holder.

The lock ends with its process. On some filesystems a lock does not reach across nodes, and some have no locks. There
the lease file decides: its holder changes ``beat`` every few seconds (the heartbeat), and no other host takes over
while it changes. An observer measures this with its own monotonic clock, because the clocks of nodes and file servers
may differ by minutes.
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

from hpctune.common import processes
from hpctune.common.log import log
from hpctune.common.text import quoted
from hpctune.errors import DriverAliveError, LeaseLostError, StorageError
from hpctune.storage import atomic, values
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.locks import Lock

HEARTBEAT_S = 5.0
"""Seconds between two changes of ``beat``."""
TAKEOVER_S = 75.0
"""Another host's lease is taken over after this many seconds without a change. NFS may show an old directory for less
(60 s by default)."""
PATIENCE_S = HEARTBEAT_S + 2.0
"""Seconds within which a living driver's lease changes, if nothing is cached."""
SETTLE_S = 3.0
"""Without locks: if several drivers took the lease at once, the last one holds it after this many seconds."""
_SKEW_S = 2.0


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of the lease.

    ``beat`` counts up while it lives. ``released``: it has ended properly. ``job``: its Slurm job, if any.
    """

    host: str
    pid: int
    since: float
    epoch: int
    beat: int = 0
    released: bool = False
    job: str = ""

    def describe(self) -> str:
        """The process, its host and its start time, for messages."""
        since = datetime.fromtimestamp(self.since).strftime("%Y-%m-%d %H:%M:%S")
        return f"{self.place}, since {since}"

    @property
    def place(self) -> str:
        """The process and its host."""
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")

    @property
    def who(self) -> tuple[str, int, float, int]:
        """A value that identifies this holder."""
        return (self.host, self.pid, self.since, self.epoch)


@dataclass(frozen=True, slots=True)
class Watch:
    """The clock that is used while another host's lease is observed. ``tell`` is called because this takes a while."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = log.info


class Lease:
    """The lease, held from construction until :meth:`release`. Raises DriverAliveError if another driver holds it."""

    def __init__(self, paths: ExperimentPaths, now: float, watch: Watch | None = None) -> None:
        self._paths, time_of = paths, watch or Watch()
        try:
            self._lock = Lock(paths.lock)
        except BlockingIOError as error:
            raise _alive(paths, _last_seen(paths)) from error
        except OSError as error:
            raise StorageError(f"Cannot lock {paths.lock}: {error}. Check that the directory is writable.") from error
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

    def rise_above(self, epoch: int) -> None:
        """Have a higher epoch than ``epoch``, that of the journal: its lease may be on another cluster, or lost."""
        with self._mutex:
            if self.holder.epoch <= epoch:
                self.holder = replace(self.holder, epoch=epoch + 1)
                self._publish(durable=True)

    def heartbeat(self, now: float) -> None:
        """Write a heartbeat, at most every :data:`HEARTBEAT_S`. Raises LeaseLostError if another driver took over."""
        if 0 <= now - self._beaten_at < HEARTBEAT_S:
            return
        with self._mutex:
            other = self._other()
            if other is not None:
                raise LeaseLostError(f"Another driver took over: {other.describe()}. This driver ends.")
            self._beaten_at = now
            self._write_heartbeat()

    @property
    def held(self) -> bool:
        """Whether no other driver has taken over. Raises StorageError."""
        return self._other() is None

    def keep(self) -> None:
        """Write heartbeats from a thread as well, because Slurm or a callback may block the driver for minutes."""
        threading.Thread(target=self._keep, name="hpctune-lease", daemon=True).start()

    def _keep(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            with self._mutex, contextlib.suppress(StorageError):
                if self._over.is_set() or self._other() is not None:
                    return  # the driver itself finds this out, and ends
                self._write_heartbeat()

    def _write_heartbeat(self) -> None:
        self.holder = replace(self.holder, beat=self.holder.beat + 1)
        self._publish()

    def release(self) -> None:
        """Release the lease, unless another driver has taken it. Never fails: the lock is released in any case."""
        self._over.set()
        with self._mutex:
            self.holder = replace(self.holder, released=True)
            try:
                if self._other() is None:
                    self._publish(durable=True)
            except StorageError:
                pass  # the next driver will find a lease that no longer changes
            finally:
                self._lock.release()

    def _other(self) -> Holder | None:
        """The driver that has taken over from this one, if any."""
        current = read(self._paths)
        return current if current is not None and current.who != self.holder.who else None

    def _publish(self, *, durable: bool = False) -> None:
        atomic.write(self._paths.lease, values.dumps(asdict(self.holder)) + "\n", durable=durable)


_FIELDS = frozenset(field.name for field in fields(Holder))


def read(paths: ExperimentPaths) -> Holder | None:
    """The last known holder; None if there never was one, or if a power failure has left an empty file."""
    try:
        text = paths.lease.read_bytes().strip(b"\0 \n")
        return Holder(**{k: v for k, v in json.loads(text).items() if k in _FIELDS}) if text else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StorageError(f"Cannot read {paths.lease}: {error}.") from error


def alive(holder: Holder | None, *, now: float, mtime: float) -> bool | None:
    """Whether the holder drives now, as far as is known without waiting. None: not known on this host.

    ``now`` and ``mtime`` may come from clocks that differ. A lease that looks recent counts as a living driver's. From
    one that looks old, or from the future, nothing is concluded. :func:`changes` tells more.
    """
    if holder is None or holder.released:
        return False
    if holder.host == socket.gethostname():
        return _process_exists(holder.pid)
    return True if -_SKEW_S <= now - mtime < TAKEOVER_S else None


def changes(paths: ExperimentPaths, holder: Holder, within_s: float, watch: Watch | None = None) -> bool:
    """Whether the lease changes within ``within_s`` seconds. Then its holder lives, or another holder has it. Waits."""
    time_of = watch or Watch()
    deadline = time_of.monotonic() + within_s
    while time_of.monotonic() < deadline:
        time_of.sleep(HEARTBEAT_S / 10)
        if _last_seen(paths) not in (holder, None):
            return True
    return False


def is_free(paths: ExperimentPaths, watch: Watch | None = None) -> bool:
    """Whether no driver seems to be alive, so that it is worth an attempt to take the lease.

    True if there never was a driver, if the last one has ended, or if its lease has not changed for TAKEOVER_S, for
    which this waits.
    """
    holder = read(paths)
    if holder is None or holder.released:
        return True
    if holder.host == socket.gethostname():
        return not _process_exists(holder.pid)
    return not changes(paths, holder, TAKEOVER_S, watch)


def _without_locks(paths: ExperimentPaths, watch: Watch) -> None:
    """Raise DriverAliveError if the lease names a process of this host that exists: there is no other evidence."""
    watch.tell(
        f"{paths.root} is on a filesystem without locks (such as Lustre without flock): "
        "the lease file alone decides which driver may run."
    )
    holder = read(paths)
    here = holder is not None and not holder.released and holder.host == socket.gethostname()
    if holder is not None and here and _process_exists(holder.pid):
        raise _alive(paths, holder)


def _tidy(paths: ExperimentPaths) -> None:
    """Remove temporary files of drivers that died while they replaced a file. Called under the lease."""
    with contextlib.suppress(OSError):
        for name in (paths.lease.name, paths.driver_status.name, paths.spec.name):
            for path in paths.root.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)


def _await_no_heartbeat(paths: ExperimentPaths, watch: Watch) -> Holder | None:
    """The last holder. Raises DriverAliveError if its lease still changes.

    Although this process has the lock, a driver on another host may be alive: then this waits for TAKEOVER_S.
    """
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
    who = holder.describe() if holder is not None else "a process that has not written its lease yet"
    return DriverAliveError(
        f"Experiment {paths.root} is being driven already: {who}. "
        f"Watch it with: hpctune status {quoted(paths.root)}. Stop it with: hpctune stop {quoted(paths.root)}"
    )


def _last_seen(paths: ExperimentPaths) -> Holder | None:
    try:
        return read(paths)
    except StorageError:
        return None


def _process_exists(pid: int) -> bool:
    """Whether the process runs. A zombie does not run."""
    if not processes.exists(pid):
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return True  # there is no /proc
