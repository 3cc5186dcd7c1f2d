"""The use of time in an experiment's jobs: queue, start-up, trials, idle; from the journal and the workers' records.

A job's start is what its script said when it began; where that is not known (local jobs, a bash older than 5), its
start-up counts as waiting. All clocks are taken for one: those of the nodes and the driver's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hpctune.model import events as e
from hpctune.model.ids import RunKey, Tag
from hpctune.model.pool import Began, Claimed, Ended, Left, Ready, WorkerRecord
from hpctune.storage import journal
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
    """A stretch of time, in Unix seconds. ``trial``: whose it was, if it was a trial's."""

    use: Use
    begin: float
    end: float
    trial: str = ""


@dataclass(slots=True)
class Lane:
    """One allocation (of a worker that has several trials side by side: one place in it)."""

    name: str
    spans: list[Span] = field(default_factory=list)

    def add(self, use: Use, begin: float | None, end: float | None, trial: str = "") -> None:
        """Add a stretch, if it is one."""
        if begin is not None and end is not None and end > begin:
            self.spans.append(Span(use, begin, end, trial))

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
    events = list(journal.read(paths.journal, sealed_ok=True))
    last = max((recorded.at for recorded in events), default=0.0)
    pooled = sorted(p.name for p in paths.workers.iterdir()) if paths.workers.is_dir() else []
    lanes = [lane for name in pooled for lane in _worker(paths, name, last)] if pooled else _jobs(events, last)
    return sorted((lane for lane in lanes if lane.spans), key=lambda lane: lane.spans[0].begin)


def seconds(lanes: Sequence[Lane]) -> dict[Use, float]:
    """How many seconds went into what, over all lanes."""
    return {use: sum(s.end - s.begin for lane in lanes for s in lane.spans if s.use is use) for use in Use}


# -- a job for each trial ----------------------------------------------------------------------------------------------


def _jobs(events: Sequence[e.Recorded], last: float) -> list[Lane]:
    asked: dict[tuple[str, int], float] = {}
    lanes: dict[RunKey, Lane] = {}
    since: dict[RunKey, float] = {}
    for recorded in events:
        event, at = recorded.event, recorded.at
        match event:
            case e.SubmitRequested():
                asked[event.trial_id, event.attempt] = at
            case e.RunStarted():
                run, claimed = event.run, event.claimed_at or at
                began = event.job_began or claimed
                lane = lanes[run] = Lane(event.job_id)
                lane.add(Use.QUEUE, asked.get((run.trial_id, run.attempt)) if run.restart == 0 else None, began)
                lane.add(Use.STARTUP, began, claimed)
                since[run] = claimed
            case e.RunEnded() if event.run in since:
                lanes[event.run].add(Use.TRIAL, since.pop(event.run), event.left_at or at, event.run.trial_id)
            case e.JobEnded() | e.RunGivenUp():
                for run in [r for r in since if (r.trial_id, r.attempt) == (event.trial_id, event.attempt)]:
                    lanes[run].add(Use.TRIAL, since.pop(run), at, run.trial_id)
    for run, begin in since.items():
        lanes[run].add(Use.TRIAL, begin, last, run.trial_id)
    return list(lanes.values())


# -- workers -----------------------------------------------------------------------------------------------------------


def _worker(paths: ExperimentPaths, name: str, last: float) -> Iterator[Lane]:
    own = paths.worker(name)
    try:
        before: float | None = own.spec.stat().st_mtime  # it is written right before the submission
    except OSError:
        return
    run = 0
    while records := WorkerTail(own.run(run)).read():
        yield from _start(name if run == 0 else f"{name} ({run})", records, before, last)
        before, run = None, run + 1


def _start(name: str, records: Sequence[WorkerRecord], submitted: float | None, last: float) -> Iterator[Lane]:
    """One start of a worker: a lane for each place in it."""
    claim = next((r for r in records if isinstance(r, Claimed)), None)
    if claim is None:
        return
    began = claim.job_began or claim.at
    ready = next((r.at for r in records if isinstance(r, (Ready, Began))), last)
    left = next((r.at for r in records if isinstance(r, Left)), max(last, ready))
    ends = {r.number: r.at for r in records if isinstance(r, Ended)}
    starts = sorted((r for r in records if isinstance(r, Began)), key=lambda r: r.at)
    for slot in sorted({r.slot for r in starts}) or [0]:
        lane, free = Lane(name if slot == 0 else f"{name}/{slot}"), ready
        lane.add(Use.QUEUE, submitted, began)
        lane.add(Use.STARTUP, began, ready)
        for start in (r for r in starts if r.slot == slot):
            tag = Tag.parse(start.tag)
            lane.add(Use.IDLE, free, start.at)
            free = ends.get(start.number, left)
            lane.add(Use.TRIAL, start.at, free, tag.trial_id if tag is not None else "")
        lane.add(Use.IDLE, free, left)
        yield lane
