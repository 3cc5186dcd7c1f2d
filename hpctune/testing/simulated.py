"""A simulated cluster and clock for the real engine and the real files: hours pass in milliseconds.

Jobs of a :class:`SimulatedCluster` follow the worker's protocol (read the control file, claim the run, append results,
obey stops, leave an exit record) through the same storage code, with a made-up training curve instead of user code.
Faults can be injected: lost answers, refusals, outages, preemption, node failures that leave zombies.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from hpctune.errors import ClusterUnavailableError
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.records import Claim, Control, Exit, Outcome, RunRecord
from hpctune.model.resources import Resources
from hpctune.model.trial import VacateReason
from hpctune.ports import CallStats
from hpctune.storage import control_file, permissions
from hpctune.storage.layout import ExperimentPaths, TrialPaths, checkpoint_name
from hpctune.storage.run_file import RunFile, RunTail, checkpoints_before

ITERATION_FILE = ".iteration"
METRICS_FILE = ".metrics"
LATE_S = 45.0
LOOK_S = 5.0
"""Seconds between two looks of a trial that waits for a decision."""


class SimulatedClock:
    """A clock whose sleeps let the simulated world go on and return at once."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Simulated Unix time in seconds."""
        return self._now

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        """Let everything happen that is due within ``seconds``, in order."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            at, _, happen = heapq.heappop(self._due)
            self._now = max(self._now, at)
            happen()
        self._now = end

    def after(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let ``happen`` be called ``seconds`` from now."""
        heapq.heappush(self._due, (self._now + seconds, next(self._order), happen))


@dataclass(frozen=True, slots=True)
class Curve:
    """A made-up training: ``metrics(config, iteration)`` after each ``seconds(config)``, ``iterations`` in all.

    ``checkpoint_every`` 0: none at reports. ``checkpoint_bytes``: how large each is said to be. ``saves``: it makes one
    when it is told to leave and to go on later. ``fails_at``: the iteration at which it raises, if any. ``step``, in
    place of ``metrics``: the next result given the one before it (empty at the start), which checkpoints hold; for
    training that depends on what came before.
    """

    metrics: Callable[[Mapping[str, Any], int], Mapping[str, Any]]
    iterations: int = 10
    seconds: Callable[[Mapping[str, Any]], float] = lambda config: 60.0
    checkpoint_every: int = 0
    checkpoint_bytes: int | None = None
    saves: bool = False
    fails_at: Callable[[Mapping[str, Any]], int | None] = lambda config: None
    step: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] | None = None

    def next(self, config: Mapping[str, Any], iteration: int, before: Mapping[str, Any]) -> Mapping[str, Any]:
        """The metrics of an iteration."""
        return self.metrics(config, iteration) if self.step is None else self.step(config, before)


class Answer(Enum):
    """How the next submission is answered."""

    NORMAL = "normal"
    LOST = "lost"
    """The job is made, the answer never comes."""
    NEVER_ARRIVED = "never arrived"
    """No job is made, and no answer comes."""
    LATE = "late"
    """No answer comes, and the job is made long after the question was given up."""
    REFUSED = "refused"


@dataclass(slots=True)
class SimulatedJob:
    """One job of the simulated cluster."""

    job_id: str
    tag: Tag
    request: JobRequest
    state: JobState = JobState.PENDING
    restarts: int = 0
    ended_at: float | None = None
    run: SimulatedProcess | None = None


class SimulatedProcess(Protocol):
    """What runs in a job. ``alive``: it was not killed; ``blind``: its node is lost, and it does not know."""

    alive: bool
    blind: bool

    def start(self) -> None: ...


@dataclass(slots=True)
class SimulatedCluster:
    """``slots`` jobs run at a time; each waits ``queue_wait_s`` first. Ended jobs stay visible ``min_job_age_s``."""

    clock: SimulatedClock
    root: Path
    curve: Curve
    slots: int = 100
    queue_wait_s: float = 0.0
    max_submitted: int = 1000
    min_job_age_s: float = 300.0
    name: str = "simulated"
    poll_s: float = 10.0
    quiet_poll_s: float = 30.0
    outage: bool = False
    answers: list[Answer] = field(default_factory=list)
    jobs_by_id: dict[str, SimulatedJob] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    history: list[SimulatedRun] = field(default_factory=list)
    """Every run that ever claimed its key, in order."""
    running: int = 0
    unended: int = 0
    submissions: int = 0
    lost_submissions: int = 0
    """Submissions whose job was not made when the question was asked."""
    _calls: int = 0

    # -- the port ---------------------------------------------------------------------------------------------

    def check(self, resources: Resources) -> None:
        """Everything can run here."""

    def room(self, resources: Resources) -> int:
        """How many more jobs the queue takes."""
        return self.max_submitted - self.unended

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Submit, with the injected answers first."""
        return [self._submit_one(r) for r in requests]

    def jobs(self) -> list[JobStatus]:
        """Every job that is visible now."""
        self._call()
        now = self.clock.now()
        for job in list(self.jobs_by_id.values()):
            if job.ended_at is not None and now - job.ended_at > self.min_job_age_s:
                del self.jobs_by_id[job.job_id]
        return [JobStatus(j.job_id, j.tag, j.state) for j in self.jobs_by_id.values()]

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End jobs."""
        self._call()
        for job_id in job_ids:
            self.end(job_id, JobState.CANCELLED)

    def preview(self, request: JobRequest) -> str:
        """A line of text."""
        return f"simulated job {request.name}: {request.resources.describe()}"

    def stats(self) -> CallStats:
        """Calls so far."""
        return CallStats(self._calls)

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Nothing to remove."""

    def close(self) -> None:
        """Nothing to let go of."""

    # -- the world --------------------------------------------------------------------------------------------

    def _call(self) -> None:
        self._calls += 1
        if self.outage:
            raise ClusterUnavailableError("slurm_load_jobs error: Unable to contact slurm controller (simulated)")

    def _submit_one(self, request: JobRequest) -> SubmitOutcome:
        self._calls += 1
        answer = self.answers.pop(0) if self.answers else Answer.NORMAL
        if answer is Answer.REFUSED:
            return Refused("QOSMaxSubmitJobPerUserLimit (simulated)", permanent=False)
        if self.outage or answer in (Answer.NEVER_ARRIVED, Answer.LATE):
            self.lost_submissions += 1
            if answer is Answer.LATE:
                self.clock.after(LATE_S, lambda: self._make_late(request))
            return Unanswered("Socket timed out on send/recv operation (simulated)")
        job = self._make(request)
        return Accepted(job.job_id) if answer is Answer.NORMAL else Unanswered("the answer was lost (simulated)")

    def _make_late(self, request: JobRequest) -> None:
        self._make(request)

    def _make(self, request: JobRequest) -> SimulatedJob:
        self.submissions += 1
        self.unended += 1
        job = SimulatedJob(str(self.submissions), request.tag, request)
        self.jobs_by_id[job.job_id] = job
        self._enqueue(job)
        return job

    def _enqueue(self, job: SimulatedJob) -> None:
        job.state = JobState.PENDING
        self.clock.after(self.queue_wait_s, lambda: self._eligible(job))

    def _eligible(self, job: SimulatedJob) -> None:
        if job.state is JobState.PENDING and job.job_id not in self.waiting:
            self.waiting.append(job.job_id)
            self._schedule()

    def _schedule(self) -> None:
        while self.waiting and self.running < self.slots:
            job = self.jobs_by_id[self.waiting.pop(0)]
            self.running += 1
            job.state = JobState.RUNNING
            job.run = self.process(job)
            job.run.start()

    def process(self, job: SimulatedJob) -> SimulatedProcess:
        """What a job runs."""
        return SimulatedRun(self, job)

    def end(self, job_id: str, state: JobState) -> None:
        """End a job for good; its run is killed where it stands."""
        job = self.jobs_by_id.get(job_id)
        if job is None or job.state.final:
            return
        self._release(job)
        job.state, job.ended_at = state, self.clock.now()
        self.unended -= 1
        self._schedule()

    def requeue(self, job_id: str, *, zombie: bool = False) -> None:
        """Preempt a running job into the queue again, same id; ``zombie``: its old process lives on (a lost node)."""
        job = self.jobs_by_id.get(job_id)
        if job is None or job.state is not JobState.RUNNING or job.run is None:
            return
        if zombie:
            job.run.blind = True
            job.run = None
            self.running -= 1
        else:
            self._release(job)
        job.restarts += 1
        self._enqueue(job)
        self._schedule()

    def _release(self, job: SimulatedJob) -> None:
        if job.job_id in self.waiting:
            self.waiting.remove(job.job_id)
        if job.state is JobState.RUNNING:
            self.running -= 1
        if job.run is not None:
            job.run.alive = False
            job.run = None

    def finished(self, process: SimulatedProcess, job: SimulatedJob) -> None:
        """A job's process has left."""
        if job.run is process:
            self.end(job.job_id, JobState.COMPLETED)


class Host(Protocol):
    """Where a run runs: a cluster, or a worker that takes one after another."""

    clock: SimulatedClock
    root: Path
    curve: Curve
    history: list[SimulatedRun]

    def finished(self, process: SimulatedProcess, job: SimulatedJob) -> None: ...


class SimulatedRun:
    """What a worker does, without user code."""

    def __init__(self, cluster: Host, job: SimulatedJob) -> None:
        self.cluster, self.job, self.alive = cluster, job, True
        self.started_from = 0
        self.iteration = 0
        self.metrics: Mapping[str, Any] = {}
        """Its last result."""
        self.blind = False
        """Its node sees the files as they were when it was lost."""
        self._seen: Control | None = None
        dirname = job.request.command[-2]
        self.paths: TrialPaths = ExperimentPaths(cluster.root).trial(dirname)
        self.key = RunKey(job.tag.trial_id, job.tag.attempt, job.restarts)
        self._file: RunFile | None = None

    def start(self) -> None:
        """Claim the run and begin, or leave at once."""
        control = self.control()
        earlier = self._earlier_records()
        if control is None or any(isinstance(r, Exit) for r in earlier):
            self._leave()
            return
        clock = self.cluster.clock
        name = next(iter(checkpoints_before(self.key, earlier)), None)
        restored = self.paths.checkpoint(name) if name else control.restore and Path(control.restore)
        if restored:
            self.started_from = self.iteration = int((restored / ITERATION_FILE).read_text())
            if self.cluster.curve.step is not None:
                self.metrics = json.loads((restored / METRICS_FILE).read_text())
        path = self.paths.run(self.key.attempt, self.key.restart)
        self._file = RunFile.claim(path, Claim(self.key, self.job.job_id, "sim", 1, clock.now(), restored=name))
        if self._file is None:
            self._leave()
            return
        self.cluster.history.append(self)
        clock.after(self.cluster.curve.seconds(control.config), self._report)

    def control(self) -> Control | None:
        """The control file, if it is for this attempt and no later run has superseded this one."""
        if self.blind:
            return self._seen
        control = control_file.read(self.paths.control)
        superseded = permissions.exists(self.paths.run(self.key.attempt, self.key.restart + 1))
        ours = control is not None and control.attempt == self.key.attempt and not superseded
        self._seen = control if ours else None
        return self._seen

    def _earlier_records(self) -> list[RunRecord]:
        """What earlier runs of this attempt have written."""
        keys = [RunKey(self.key.trial_id, self.key.attempt, r) for r in range(self.key.restart)]
        return [record for k in keys for record in RunTail(self.paths.run(k.attempt, k.restart), k).read()]

    def _report(self) -> None:
        if not self.alive or self._file is None:
            return
        control = self.control()
        if control is None:
            self._leave()
            return
        curve, clock = self.cluster.curve, self.cluster.clock
        self.iteration += 1
        if curve.fails_at(control.config) == self.iteration:
            self._exit(Outcome.FAILED, "it raises here (simulated)")
            return
        self.metrics = curve.next(control.config, self.iteration, self.metrics)
        row = {"training_iteration": self.iteration, **self.metrics}
        due = curve.checkpoint_every and self.iteration % curve.checkpoint_every == 0
        self._file.result(row, self._checkpoint() if due else None, curve.checkpoint_bytes)
        criteria = dict(control.criteria)
        if control.ends_at_value is not None:
            criteria[control.milestone_attr] = control.ends_at_value
        reached = next((k for k, v in criteria.items() if row.get(k, float("-inf")) >= v), None)
        if reached is not None or self.iteration >= curve.iterations:
            self._exit(Outcome.COMPLETED, f"criterion {reached}" if reached else "returned")
        elif self._waits(control, row):
            self._await_decision(row, clock.now() + control.decision_timeout_s)
        elif not self._obeys(control):
            clock.after(curve.seconds(control.config), self._report)

    def _obeys(self, control: Control) -> bool:
        """Whether it has left, as it was told to."""
        if control.stop is not None:
            self._exit(Outcome.STOPPED, control.stop)
        elif control.leave == VacateReason.REPLACE.value:
            self._exit(Outcome.REPLACED, "told to leave")
        elif control.leave is not None:
            self._exit(Outcome.PAUSED, "told to leave", saves=self.cluster.curve.saves)
        return not self.alive

    @staticmethod
    def _waits(control: Control, row: Mapping[str, Any]) -> bool:
        value, milestone = row.get(control.milestone_attr), control.milestone
        if milestone is None or value is None or value < milestone:
            return False
        return control.answered is None or control.answered < milestone

    def _await_decision(self, row: Mapping[str, Any], deadline: float) -> None:
        """Stand still at a milestone until it is answered, or the time is up."""
        if not self.alive:
            return
        control, clock = self.control(), self.cluster.clock
        if control is None:
            self._leave()
        elif self._obeys(control):
            pass
        elif not self._waits(control, row):
            clock.after(self.cluster.curve.seconds(control.config), self._report)
        elif clock.now() < deadline:
            clock.after(LOOK_S, lambda: self._await_decision(row, deadline))
        elif control.milestone_pause or control.undecided == "pause" or self._goes_no_further(control, row):
            self._exit(Outcome.PAUSED, "no decision in time", saves=self.cluster.curve.saves)
        else:
            clock.after(self.cluster.curve.seconds(control.config), self._report)

    @staticmethod
    def _goes_no_further(control: Control, row: Mapping[str, Any]) -> bool:
        """Whether it has gone on past one milestone already without a decision."""
        then = control.milestone_then
        return control.undecided == "next" and then is not None and row[control.milestone_attr] >= then

    def _checkpoint(self) -> str:
        name = checkpoint_name(self.key, self.iteration)
        directory = self.paths.checkpoint(name)
        directory.mkdir(exist_ok=True)
        (directory / ITERATION_FILE).write_text(str(self.iteration))
        if self.cluster.curve.step is not None:
            (directory / METRICS_FILE).write_text(json.dumps(self.metrics))
        return name

    def _exit(self, outcome: Outcome, reason: str, *, saves: bool = False) -> None:
        assert self._file is not None
        name = self._checkpoint() if saves else None
        saved = (name, self.iteration, self.cluster.curve.checkpoint_bytes) if name else ()
        self._file.exit(outcome, reason, self.cluster.clock.now(), None, *saved)
        self._leave()

    def _leave(self) -> None:
        self.alive = False
        if self._file is not None:
            self._file.close()
        self.cluster.finished(self, self.job)
