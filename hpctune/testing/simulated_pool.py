"""Workers of a pool in simulated time: they follow the real protocol, through the same storage code.

A job of a :class:`SimulatedPool` that runs a pool's worker takes assignments, runs each as a
:class:`~hpctune.testing.simulated.SimulatedRun`, and notes what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest
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
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.worker_files import WorkerFile
from hpctune.testing.simulated import (
    Curve,
    SimulatedClock,
    SimulatedCluster,
    SimulatedJob,
    SimulatedProcess,
    SimulatedRun,
)

IMPORT_S = 2.0
LOOK_S = 1.0


@dataclass(slots=True)
class SimulatedPool(SimulatedCluster):
    """A simulated cluster whose jobs may be workers that stay, which look at their orders every ``look_s``.

    A run that is killed says nothing.
    """

    look_s: float = LOOK_S

    def process(self, job: SimulatedJob) -> SimulatedProcess:
        """A worker, or the run of one attempt."""
        if "hpctune.worker.pool" in job.request.command:
            return SimulatedWorker(self, job, self.look_s)
        return SimulatedRun(self, job)


class SimulatedWorker:
    """One start of one worker, without processes. To its runs it is the cluster that they run on."""

    def __init__(self, cluster: SimulatedCluster, job: SimulatedJob, look_s: float = LOOK_S) -> None:
        self._cluster, self.job, self._look_s = cluster, job, look_s
        self.clock: SimulatedClock = cluster.clock
        self.root: Path = cluster.root
        self.curve: Curve = cluster.curve
        self.history: list[SimulatedRun] = cluster.history
        self._alive, self._blind = True, False
        self._paths = ExperimentPaths(cluster.root).worker(job.request.command[-1])
        self._spec = WorkerSpec("", "")
        self._file: WorkerFile | None = None
        self._run = -1
        self._orders = WorkerOrders(0)
        self._seen: set[int] = set()
        self.runs: dict[int, SimulatedRun] = {}
        """What runs here, by number of the assignment."""
        self._active_at = self.clock.now()

    @property
    def alive(self) -> bool:
        """Whether it was not killed."""
        return self._alive

    @alive.setter
    def alive(self, alive: bool) -> None:
        self._alive = alive
        for run in self.runs.values():
            run.alive = alive

    @property
    def blind(self) -> bool:
        """Whether its node is lost: it sees the files as they were then."""
        return self._blind

    @blind.setter
    def blind(self, blind: bool) -> None:
        self._blind = blind
        for run in self.runs.values():
            run.blind = blind

    def start(self) -> None:
        """Claim this start, import the user's code, look for work."""
        spec = worker_files.read_spec(self._paths)
        for number in range(self.job.restarts + 1):
            claim = Claimed(number, self.job.job_id, "sim", 1, self.clock.now())
            file = WorkerFile.claim(self._paths.run(number), claim) if spec is not None else None
            if file is not None and spec is not None:
                self._spec, self._file, self._run = spec, file, number
                self.clock.after(IMPORT_S, self._ready)
                return
        self._leave()

    def _ready(self) -> None:
        if self._alive:
            self._say(Ready(self.clock.now()))
            self._look()

    def _look(self) -> None:
        if not self._alive:
            return
        if not self._blind:
            orders = worker_files.parse_orders(worker_files.read_orders(self._paths))
            if orders is not None and orders.run > self._run:
                self.alive = False
                return
            if orders is not None and orders.run == self._run:
                self._orders = orders
        self._obey()
        self._begin()
        idle_s = self.clock.now() - self._active_at
        patience_s = max(self._spec.idle_timeout_s, self._orders.idle_grace_s)
        if self.runs or not (self._orders.leave or idle_s > patience_s):
            self.clock.after(self._look_s, self._look)
        else:
            self._say(Left(self._orders.leave or "idle", self.clock.now()))
            self._leave()

    def _obey(self) -> None:
        now = self.clock.now()
        pending = {a.number for a in self._orders.assignments} - self._seen
        for number in sorted(pending.intersection(self._orders.cancel)):
            self._say(Ended(number, None, now, "cancelled"))
        for number in sorted(pending.intersection(self._orders.retracted) - set(self._orders.cancel)):
            self._say(Retracted(number, now))
        self._seen |= pending.intersection((*self._orders.cancel, *self._orders.retracted))
        for number in set(self.runs).intersection(self._orders.cancel):
            self.runs.pop(number).alive = False
            self._say(Ended(number, 143, now, "cancelled"))

    def _begin(self) -> None:
        for assignment in self._orders.assignments:
            if assignment.number in self._seen or len(self.runs) >= self._spec.slots or self._orders.leave:
                continue
            self._seen.add(assignment.number)
            self._active_at = self.clock.now()
            output = (assignment.stdout, assignment.stderr)
            self._say(Began(assignment.number, assignment.tag, 0, output, self.clock.now()))
            run = self.runs[assignment.number] = SimulatedRun(self, self._as_job(assignment))
            run.start()

    def _as_job(self, assignment: Assignment) -> SimulatedJob:
        tag = Tag.parse(assignment.tag)
        assert tag is not None
        paths = Path(assignment.stdout), Path(assignment.stderr)
        request = JobRequest(tag, "", assignment.command, Resources(), *paths)
        return SimulatedJob(f"{self._spec.worker}.{assignment.number}", tag, request)

    def finished(self, process: SimulatedProcess, job: SimulatedJob) -> None:
        """A run has left."""
        number = next((n for n, run in self.runs.items() if run is process), None)
        if number is not None and self._alive:
            del self.runs[number]
            self._active_at = self.clock.now()
            self._say(Ended(number, 0, self.clock.now()))

    def _say(self, record: WorkerRecord) -> None:
        assert self._file is not None
        self._file.append(record)

    def _leave(self) -> None:
        self._alive = False
        self._cluster.finished(self, self.job)
