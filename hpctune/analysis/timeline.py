"""The use of time in an experiment's jobs: queue, start-up, trials, idle; from the journal and the workers' records.

A job's start is what its script said when it began; if that is not known (local jobs, a bash older than 5), it is
when the driver saw that it ran. All clocks are taken for one: those of the nodes and the driver's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from hpctune.model import events as e
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import JobState
from hpctune.model.pool import ASSIGNMENT, Began, Claimed, Ended, Left, Ready, WorkerRecord
from hpctune.storage import journal, worker_files
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import open_experiment
from hpctune.storage.worker_files import WorkerTail


class Use(str, Enum):
    """What a stretch of time was used for."""

    QUEUE = "queue"
    """From the submission until the job began."""
    STARTUP = "start-up"
    """Until its worker was ready: the interpreter, imports."""
    TRIAL = "trial"
    IDLE = "idle"
    """Held, without a trial."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in Unix seconds. ``trial`` and ``attempt``: whose it was, if it was a trial's."""

    use: Use
    begin: float
    end: float
    trial: str = ""
    attempt: int = 0


@dataclass(slots=True)
class Lane:
    """One allocation (of a worker that has several trials side by side: one place in it).

    ``job_id``: its job's id at the cluster. ``worker``: the worker in it, "" for the job of one attempt, which then is
    ``attempt`` of ``trial``.
    """

    name: str
    spans: list[Span] = field(default_factory=list)
    job_id: str = ""
    worker: str = ""
    trial: str = ""
    attempt: int = 0

    def add(self, use: Use, begin: float | None, end: float | None, trial: str = "", attempt: int = 0) -> None:
        """Add a stretch, if it is one."""
        if begin is not None and end is not None and end > begin:
            self.spans.append(Span(use, begin, end, trial, attempt))

    @property
    def held(self) -> tuple[float, float] | None:
        """From when until when the allocation was held; None if it never was."""
        spans = [span for span in self.spans if span.use is not Use.QUEUE]
        return (min(s.begin for s in spans), max(s.end for s in spans)) if spans else None


def timeline(path: str | Path) -> list[Lane]:
    """The allocations of the experiment in ``path``, in the order of their submission.

    What is not over yet ends with the last that is known. Raises NotAnExperimentError.
    """
    paths = open_experiment(path)
    return timeline_of(paths, list(journal.read(paths.journal, sealed_ok=True)))


def timeline_of(paths: ExperimentPaths, events: Sequence[e.Recorded]) -> list[Lane]:
    """The same from the ``events`` of its journal."""
    made = Timeline()
    for recorded in events:
        made.take(recorded)
    return made.lanes(paths)


class Timeline:
    """The allocations of an experiment, from its events as they come."""

    def __init__(self) -> None:
        self._jobs, self._last = _Jobs(), 0.0

    def take(self, recorded: e.Recorded) -> None:
        """Use the next event."""
        self._last = max(self._last, recorded.at)
        self._jobs.take(recorded.event, recorded.at)

    def lanes(self, paths: ExperimentPaths) -> list[Lane]:
        """The allocations so far; the records of workers are read now."""
        workers = sorted(p.name for p in paths.workers.iterdir()) if paths.workers.is_dir() else []
        lanes = [lane for name in workers for lane in _worker(paths, name, self._last)]
        lanes += [lane for lane in self._jobs.lanes(self._last) if not ASSIGNMENT.fullmatch(lane.job_id)]
        return sorted((lane for lane in lanes if lane.spans), key=lambda lane: lane.spans[0].begin)


def seconds(lanes: Sequence[Lane]) -> dict[Use, float]:
    """How many seconds went into what, over all lanes."""
    return {use: sum(s.end - s.begin for lane in lanes for s in lane.spans if s.use is use) for use in Use}


# -- a job for each trial ----------------------------------------------------------------------------------------------


class _Jobs:
    """The allocations of jobs that carry one attempt each."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], float] = {}
        self._began: dict[tuple[str, int], tuple[str, float]] = {}
        """The job, and since when the cluster says that it runs, of attempts that no run has claimed."""
        self._since: dict[RunKey, float] = {}
        self._waits_since: dict[tuple[str, int], float] = {}
        """Since when the job of a run that has not ended is in the queue again."""
        self._lanes: dict[RunKey, Lane] = {}

    def lanes(self, last: float) -> list[Lane]:
        """All allocations; those that are not over end at ``last``."""
        over = _Jobs()
        over._asked, over._waits_since = self._asked, self._waits_since
        over._began, over._since, over._lanes = dict(self._began), dict(self._since), dict(self._lanes)
        for run in self._since:
            over._lanes[run] = replace(self._lanes[run], spans=list(self._lanes[run].spans))
            over._end(run, last)
        for attempt in self._began:
            over._never_claimed(attempt, last)
        return list(over._lanes.values())

    def take(self, event: e.Event, at: float) -> None:
        """Use the next event."""
        match event:
            case e.SubmitRequested():
                self._asked[event.trial_id, event.attempt] = at
            case e.JobChanged():
                self._changed(event, at)
            case e.RunStarted():
                self._started(event, at)
            case e.RunEnded() if event.run in self._since:
                self._end(event.run, event.left_at or at)
            case e.JobEnded() | e.RunGivenUp() | e.AttemptRevoked():
                attempt = (event.trial_id, event.attempt)
                for run in [r for r in self._since if (r.trial_id, r.attempt) == attempt]:
                    self._end(run, at)
                self._never_claimed(attempt, at)

    def _changed(self, event: e.JobChanged, at: float) -> None:
        attempt = (event.trial_id, event.attempt)
        claimed = any((r.trial_id, r.attempt) == attempt for r in self._since)
        if event.state is JobState.PENDING:
            self._never_claimed(attempt, at)
            if claimed:
                self._waits_since.setdefault(attempt, at)
        elif event.state is JobState.RUNNING and not claimed:
            self._began.setdefault(attempt, (event.job_id, at))

    def _started(self, event: e.RunStarted, at: float) -> None:
        run, claimed = event.run, event.claimed_at or at
        attempt = (run.trial_id, run.attempt)
        _, seen = self._began.pop(attempt, ("", claimed))
        began = event.job_began or min(seen, claimed)
        for earlier in [r for r in self._since if (r.trial_id, r.attempt) == attempt]:
            self._end(earlier, min(self._waits_since.get(attempt, began), began))
        self._waits_since.pop(attempt, None)
        lane = self._lanes[run] = Lane(event.job_id, job_id=event.job_id, trial=run.trial_id, attempt=run.attempt)
        lane.add(Use.QUEUE, self._asked.get(attempt) if run.restart == 0 else None, began)
        lane.add(Use.STARTUP, began, claimed)
        self._since[run] = claimed

    def _end(self, run: RunKey, at: float) -> None:
        at = min(at, self._waits_since.get((run.trial_id, run.attempt), at))
        self._lanes[run].add(Use.TRIAL, self._since.pop(run), at, run.trial_id, run.attempt)

    def _never_claimed(self, attempt: tuple[str, int], at: float) -> None:
        """A job whose run never began: all of its time is start-up."""
        job_id, began = self._began.pop(attempt, ("", at))
        if began < at:
            number = -1 - sum(r.restart < 0 and (r.trial_id, r.attempt) == attempt for r in self._lanes)
            lane = Lane(job_id, job_id=job_id, trial=attempt[0], attempt=attempt[1])
            lane.add(Use.QUEUE, self._asked.get(attempt) if number == -1 else None, began)
            lane.add(Use.STARTUP, began, at)
            self._lanes[RunKey(*attempt, number)] = lane


# -- workers -----------------------------------------------------------------------------------------------------------


def _worker(paths: ExperimentPaths, name: str, last: float) -> Iterator[Lane]:
    own = paths.worker(name)
    try:
        before: float | None = own.spec.stat().st_mtime  # it is written right before the submission
    except OSError:
        return
    spec = worker_files.read_spec(own)
    slots, following = spec.slots if spec is not None else 1, WorkerTail(own.run(0)).read()
    run = 0
    while records := following:
        following = WorkerTail(own.run(run + 1)).read()
        until = min([last, *(_began(r) for r in following[:1])])
        yield from _start(name, run, slots, records, before, until)
        before, run = None, run + 1


def _began(record: WorkerRecord) -> float:
    return (record.job_began or record.at) if isinstance(record, Claimed) else record.at


def _start(
    worker: str, run: int, slots: int, records: Sequence[WorkerRecord], submitted: float | None, last: float
) -> Iterator[Lane]:
    """One start of a worker: a lane for each place in it. ``last``: its end, if it has not recorded it."""
    claim = next((r for r in records if isinstance(r, Claimed)), None)
    if claim is None:
        return
    began = claim.job_began or claim.at
    ready = next((r.at for r in records if isinstance(r, (Ready, Began))), last)
    left = next((r.at for r in records if isinstance(r, Left)), max(last, ready))
    ends = {r.number: r.at for r in records if isinstance(r, Ended)}
    starts = sorted((r for r in records if isinstance(r, Began)), key=lambda r: r.at)
    for slot in range(max([slots, *(r.slot + 1 for r in starts)])):
        name = f"{worker}{f'/{slot}' if slot else ''}{f' ({run})' if run else ''}"
        lane, free = Lane(name, job_id=claim.job_id, worker=worker), ready
        lane.add(Use.QUEUE, submitted, began)
        lane.add(Use.STARTUP, began, ready)
        for start in (r for r in starts if r.slot == slot):
            tag = Tag.parse(start.tag)
            lane.add(Use.IDLE, free, start.at)
            free = ends.get(start.number, left)
            whose = (tag.trial_id, tag.attempt) if tag is not None else ("", 0)
            lane.add(Use.TRIAL, start.at, free, *whose)
        lane.add(Use.IDLE, free, left)
        yield lane
