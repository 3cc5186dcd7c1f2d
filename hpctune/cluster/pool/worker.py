"""The driver's view of one worker, from the worker's files and the cluster's answers about its job."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from hpctune.cluster.pool.sizing import WorkerLoad, WorkerShape
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.pool import (
    Assignment,
    Began,
    Claimed,
    Ended,
    Left,
    Ready,
    Retracted,
    WorkerOrders,
    WorkerRecord,
    WorkerSpec,
)
from hpctune.model.resources import Resources
from hpctune.storage import worker_files
from hpctune.storage.layout import WorkerPaths
from hpctune.storage.worker_files import WorkerTail

BEHIND_S = 1.0
"""A trial that has waited behind another for this many seconds counts as demand for another worker."""
AGAIN_S = 5.0
"""Orders are published again if a worker with a free place has not followed them for this many seconds."""
_PASSED_ON = frozenset({JobState.TIMEOUT, JobState.NODE_FAIL, JobState.PREEMPTED})
"""Final states of a worker's job that its trials get, too. After any other end of the worker they are LOST."""


@dataclass(slots=True)
class AssignmentState:
    """One assignment, which is a job to the engine."""

    worker: str
    number: int
    tag: Tag
    assignment: Assignment | None
    """None: the assignment is known from the worker's record alone, and has begun."""
    resources: Resources
    output: tuple[str, str] = ("", "")
    given_at: float = float("-inf")
    began_at: float | None = None
    state: JobState = JobState.PENDING
    reason: str = ""

    @property
    def job_id(self) -> str:
        return f"{self.worker}.{self.number}"


@dataclass(slots=True)
class TrialTimings:
    """Durations of recent trials in seconds.

    ``durations``: from start to end. ``to_first_checkpoint``: from start to the first checkpoint, or to the end.
    """

    durations: list[float] = field(default_factory=list)
    to_first_checkpoint: list[float] = field(default_factory=list)

    def take(self, duration_s: float, saved_s: float | None, finished: bool) -> None:
        """Add a trial. One that was interrupted before its first checkpoint adds nothing."""
        if finished:
            self.durations = [*self.durations[-15:], duration_s]
        if finished or saved_s is not None:
            self.to_first_checkpoint = [
                *self.to_first_checkpoint[-31:],
                duration_s if saved_s is None else min(saved_s, duration_s),
            ]


class WorkerView:
    """One worker. ``job``: the cluster's last answer about its job. ``gone``: nothing runs in it, nor ever will."""

    def __init__(self, paths: WorkerPaths, spec: WorkerSpec, kind: WorkerShape, timings: TrialTimings) -> None:
        self.name, self.paths, self.spec, self.kind, self._timings = spec.worker, paths, spec, kind, timings
        self.job: JobStatus | None = None
        self.missing = 0
        """Consecutive answers of the cluster without its job."""
        self.gone = False
        self.run = -1
        self.claimed: Claimed | None = None
        self.claim_seen_at = float("-inf")
        self.started = False
        """Whether it runs: it has claimed its start, and was not requeued since."""
        self.ready = False
        self.ready_at: float | None = None
        self.left = ""
        self._held_before_s = 0.0
        """Seconds for which earlier starts of its job were held."""
        self._since: float | None = None
        """Since when its job has been held; None: it is not."""
        self._seen_at = float("-inf")
        """The last moment at which its job is known to have been held."""
        self.worked = False
        """Whether any trial has begun in its current run."""
        self.leave = ""
        self.idle_grace_s = 0.0
        self.retiring = False
        """Whether a successor was requested because its time limit is near."""
        self.dismissed_at = float("-inf")
        self.idle_since: float | None = None
        """Since when it has been without work."""
        self.submitted_at = float("-inf")
        self.entries: dict[int, AssignmentState] = {}
        self._held: dict[int, AssignmentState] = {}
        """The entries that are not over."""
        self.displaced: list[AssignmentState] = []
        """Assignments that were given to it and will not begin here."""
        self._cancel: set[int] = set()
        self._back: set[int] = set()
        self._next = 1
        self._known: set[int] = set()
        """Numbers of the assignments in its record."""
        self._tail: WorkerTail | None = None
        self._following = WorkerTail(paths.run(0))
        self._orders = worker_files.OrdersFile(paths)
        self._published: WorkerOrders | None = None
        self._published_at = float("-inf")

    # -- its state -----------------------------------------------------------------------------------------------

    @property
    def held(self) -> list[AssignmentState]:
        """Assignments that are not over."""
        return list(self._held.values())

    @property
    def usable(self) -> bool:
        """Whether it takes assignments."""
        return self.ready and not (self.gone or self.left or self.leave)

    def standing(self, now: float) -> WorkerLoad:
        """Its load, on which the size of the pool depends."""
        held = self.held
        waiting = sum(e.state is JobState.PENDING and now - e.given_at > BEHIND_S for e in held)
        free = self.kind.slots - (len(held) - waiting)
        return WorkerLoad(self.name, self.kind, len(held), self.started, max(0, waiting - max(0, free)))

    @property
    def node(self) -> str:
        """The node on which it runs, as the cluster names it."""
        host = self.claimed.host if self.claimed is not None else ""
        return (self.job.nodes if self.job is not None else "") or host

    def time_left_s(self, now: float) -> float:
        """Seconds until its time limit; infinite if no limit is known."""
        ends_at = self.job.ends_at if self.job is not None else None
        return float("inf") if ends_at is None else ends_at - now

    def statuses(self) -> Iterator[JobStatus]:
        """Its assignments, as jobs."""
        ends_at = self.job.ends_at if self.job is not None else None
        for entry in self.entries.values():
            running = entry.state is JobState.RUNNING
            nodes, end = (self.node, ends_at) if running or entry.state.final else ("", None)
            yield JobStatus(entry.job_id, entry.tag, entry.state, entry.reason, nodes, end if running else None)

    def held_s(self, now: float) -> float:
        """Seconds for which its job was held until ``now``, all starts together."""
        return self._held_before_s + (max(now - self._since, 0.0) if self._since is not None else 0.0)

    def _released(self, at: float) -> None:
        """Its job is not held any more since ``at``."""
        self._held_before_s, self._since = self.held_s(at), None

    # -- its records ---------------------------------------------------------------------------------------------

    def adopt(self, now: float) -> None:
        """Take over from an earlier driver: read its orders, and from the record what became of them.

        Raises StorageError.
        """
        self.read(now)
        orders = worker_files.parse_orders(worker_files.read_orders(self.paths))
        if orders is None:
            return
        for assignment in orders.assignments:
            tag = Tag.parse(assignment.tag)
            if tag is None or assignment.number in self._known:
                continue
            self._next = max(self._next, assignment.number + 1)
            output = (assignment.stdout, assignment.stderr)
            entry = AssignmentState(self.name, assignment.number, tag, assignment, self.kind.resources, output)
            self.entries[assignment.number] = self._held[assignment.number] = entry
            if orders.run < self.run:
                self._cannot_begin(assignment.number)
        self.leave, self._published = orders.leave, orders

    def read(self, now: float) -> None:
        """Read the new lines of its record. Raises StorageError."""
        if self._tail is not None:
            self._take(self._tail.read())
        records = self._following.read()
        while records:
            self._begin_run(records, now)
            records = self._following.read()

    def _begin_run(self, records: Sequence[WorkerRecord], now: float) -> None:
        """Handle a new start of the worker: its running trials are over, and those not begun need another worker."""
        self.end_held(JobState.PREEMPTED, "its worker was started again")
        self.run += 1
        self._tail, self._following = self._following, WorkerTail(self.paths.run(self.run + 1))
        self.claim_seen_at, self.started, self.ready, self.worked, self.gone = now, True, False, False, False
        self.left, self.retiring = "", False
        self._cancel.clear()
        self._back.clear()
        self._take(records)

    def _take(self, records: Sequence[WorkerRecord]) -> None:
        for record in records:
            self._seen_at = max(self._seen_at, record.at)
            match record:
                case Claimed():
                    self.claimed, began = record, record.job_began or record.at
                    self._released(began)
                    self._since = began
                case Ready():
                    self.ready, self.ready_at = True, record.at
                case Began():
                    self._began(record)
                case Ended():
                    self._ended(record)
                case Retracted():
                    self._know(record.number)
                    self._cannot_begin(record.number)
                case Left():
                    self.left = record.reason or "it has left"
                    self._released(record.at)

    def _know(self, number: int) -> None:
        self._known.add(number)
        self._next = max(self._next, number + 1)

    def _began(self, record: Began) -> None:
        self.worked = True
        self._know(record.number)
        entry = self.entries.get(record.number)
        if entry is None:
            tag = Tag.parse(record.tag)
            if tag is None:
                return
            entry = AssignmentState(self.name, record.number, tag, None, self.kind.resources, record.output)
            self.entries[record.number] = self._held[record.number] = entry
        if not entry.state.final:
            entry.began_at, entry.state, entry.reason = record.at, JobState.RUNNING, ""

    def _ended(self, record: Ended) -> None:
        self._know(record.number)
        entry = self.entries.get(record.number)
        if entry is None or entry.state.final:
            return
        entry.state, entry.reason = _end(record)
        del self._held[record.number]
        if entry.began_at is not None:
            finished = entry.state in (JobState.COMPLETED, JobState.FAILED)
            self._timings.take(max(0.0, record.at - entry.began_at), record.saved_s, finished)

    def _cannot_begin(self, number: int) -> None:
        entry = self.entries.get(number)
        if entry is not None and entry.state is JobState.PENDING:
            del self.entries[number], self._held[number]
            self.displaced.append(entry)

    # -- the state of its job ------------------------------------------------------------------------------------

    def judge(self, asked_at: float) -> None:
        """Update its assignments from the state of its job, queried at ``asked_at``, and from its last record.

        A job that is pending again was requeued. An answer from before its last start was seen is ignored.
        """
        job = self.job
        if job is not None and job.state is JobState.RUNNING:
            self._seen_at = max(self._seen_at, asked_at)
        if self.left:
            self.end_held(JobState.LOST, f"its worker has ended ({self.left})")
        if job is not None and job.state.final:
            what = f"its worker's job {job.job_id} ended as {job.state.value}" + (f" ({job.reason})" * bool(job.reason))
            alone = self.spec.slots == 1 and job.state is JobState.OUT_OF_MEMORY
            self._set_gone(job.state if alone or job.state in _PASSED_ON else JobState.LOST, what)
        elif self.missing >= 2:
            self._set_gone(JobState.LOST, f"the cluster no longer knows its worker's job {job.job_id if job else ''}")
        elif job is not None and job.state is JobState.PENDING and self.started and asked_at > self.claim_seen_at:
            self.started = self.ready = False
            self._released(self._seen_at)
            self.end_held(JobState.PREEMPTED, "its worker's job was requeued")

    def _set_gone(self, state: JobState, reason: str) -> None:
        self.gone = True
        self._released(self._seen_at)
        self.end_held(state, reason)

    def end_held(self, state: JobState, reason: str) -> None:
        """End the assignments that have begun here. Those that have not begun need another worker."""
        for entry in self.held:
            if entry.state is JobState.PENDING:
                self._cannot_begin(entry.number)
            else:
                entry.state, entry.reason = state, reason
                del self._held[entry.number]

    # -- orders --------------------------------------------------------------------------------------------------

    def give(self, tag: Tag, assignment: Assignment, resources: Resources, now: float) -> AssignmentState:
        """Add an assignment under a new number. The next :meth:`publish` sends it to the worker."""
        number = self._next
        self._next += 1
        own = replace(assignment, number=number)
        entry = AssignmentState(self.name, number, tag, own, resources, (own.stdout, own.stderr), given_at=now)
        self.entries[number] = self._held[number] = entry
        self.idle_since = None
        return entry

    def cancel(self, number: int) -> None:
        self._cancel.add(number)

    def retract(self, number: int) -> None:
        """Ask the worker to return an assignment that has not begun, so that another worker can run it."""
        self._back.add(number)

    def publish(self, now: float) -> None:
        """Write its orders if they have changed. Raises StorageError."""
        held = self.held
        waiting = [e for e in held if e.state is JobState.PENDING and e.assignment is not None]
        numbers = {entry.number for entry in held}
        pending = {entry.number for entry in waiting}
        orders = WorkerOrders(
            max(self.run, 0),
            tuple(entry.assignment for entry in waiting if entry.assignment is not None),
            tuple(sorted(self._cancel & numbers)),
            tuple(sorted(self._back & pending)),
            self.leave,
            self.idle_grace_s,
        )
        idle = bool(waiting) and len(held) - len(waiting) < self.kind.slots
        published = self._published
        if published is None or _matters(orders, published) or (idle and now - self._published_at > AGAIN_S):
            self._orders.publish(orders)
            self._published, self._published_at = orders, now


def _matters(orders: WorkerOrders, published: WorkerOrders) -> bool:
    """Whether ``orders`` must be published to a worker that has read ``published``.

    The worker knows itself which assignments have begun. A new ``idle_grace_s`` waits for the next other change,
    because the worker takes each change as a sign that the driver lives.
    """
    known = {assignment.number for assignment in published.assignments}
    as_before = replace(published, assignments=orders.assignments, idle_grace_s=orders.idle_grace_s)
    return orders != as_before or not known.issuperset(a.number for a in orders.assignments)


def _end(record: Ended) -> tuple[JobState, str]:
    match record.why:
        case "cancelled":
            return JobState.CANCELLED, "cancelled"
        case "warned":
            return JobState.PREEMPTED, "its worker was told to leave"
        case "oom":
            return JobState.OUT_OF_MEMORY, "the kernel killed it because memory ran out"
    if record.code == 0:
        return JobState.COMPLETED, ""
    if record.code is not None and record.code < 0:
        return JobState.FAILED, f"ended by {_signal_name(-record.code)}"
    return JobState.FAILED, f"exit code {record.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
