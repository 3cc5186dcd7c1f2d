"""The allocations of an experiment, and what each moment of them was used for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hpctune.analysis.cost.runs import Cause, Run, Runs
from hpctune.analysis.timeline import Lane, Span, Use
from hpctune.model.jobs import JobState
from hpctune.model.usage import JobAccount

_NEAR_S = 5.0
"""Seconds between our own times of a job and those of the accounting, at most, for them to mean the same start."""
_WHOLE_S = 2.0
"""The accounting has whole seconds. If begin and end differ by less than this, they mean the same moments."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an allocation's time with one cause, in Unix seconds. ``trial`` "": of no trial."""

    cause: Cause
    begin: float
    end: float
    trial: str = ""


@dataclass(slots=True)
class Allocation:
    """One start of a job, by its places (one, but in a worker that runs several trials side by side).

    ``account``: Slurm's account of it, if there is one. ``cause``: of all its time, if it has no places.
    """

    job_id: str
    lanes: list[Lane] = field(default_factory=list)
    account: JobAccount | None = None
    cause: Cause = Cause.STARTUP
    trial: str = ""
    held: tuple[float, float] = (0.0, 0.0)

    def pieces(self, runs: Runs) -> Iterator[list[Piece]]:
        """For each place its pieces: in order, without gaps, without overlap, from begin to end of the allocation."""
        begin, end = self.held
        if not self.lanes:
            yield [Piece(self.cause, begin, end, self.trial)]
        spans = [lane.held for lane in self.lanes if lane.held is not None]
        ours = (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else self.held
        for lane in self.lanes:
            pieces = list(_pieces(lane, runs))
            if abs(ours[0] - begin) < _WHOLE_S and abs(ours[1] - end) < _WHOLE_S:
                pieces = [_moved(piece, ours, self.held) for piece in pieces]
            yield list(_filled(pieces, lane, runs, begin, end))


def allocations(
    lanes: Iterable[Lane], runs: Runs, accounts: Sequence[JobAccount] = (), drivers: Iterable[Lane] = ()
) -> list[Allocation]:
    """Every allocation, oldest first. ``drivers``: those of driver jobs.

    Each lane belongs to the account of its job that it overlaps most. Accounts without a lane are of jobs in which
    nothing has begun, or of which nothing is known: then they were not needed.
    """
    free: dict[str, list[JobAccount]] = {}
    for account in accounts:
        free.setdefault(account.job_id, []).append(account)
    found = [_with_account(each, free) for each in _grouped(lanes)]
    for lane in drivers:
        span = lane.held
        if span is not None:
            driver = Allocation(lane.job_id, [], None, Cause.DRIVER, held=span)
            found.append(_with_account(driver, free))
    for account in (account for several in free.values() for account in several):
        trial, cause = _unseen(account, runs, pooled=any(a.lanes and a.lanes[0].worker for a in found))
        found.append(Allocation(account.job_id, [], account, cause, trial, _times(account)))
    return sorted(found, key=lambda each: each.held[0])


def _grouped(lanes: Iterable[Lane]) -> list[Allocation]:
    """The places of one start of a worker are one allocation."""
    found: dict[tuple[str, float], Allocation] = {}
    for lane in lanes:
        held = lane.held
        if held is not None:
            one = found.setdefault((lane.worker or lane.name, held[0]), Allocation(lane.job_id, held=held))
            one.lanes.append(lane)
            one.held = (one.held[0], max(one.held[1], held[1]))
    return list(found.values())


def _with_account(allocation: Allocation, free: dict[str, list[JobAccount]]) -> Allocation:
    begin, end = allocation.held
    near = [
        (min(end, e) - max(begin, b), account)
        for account in free.get(allocation.job_id, ())
        for b, e in [_times(account)]
        if min(end, e) - max(begin, b) > -_NEAR_S
    ]
    if near:
        account = max(near, key=lambda pair: pair[0])[1]
        free[allocation.job_id].remove(account)
        allocation.account, allocation.held = account, _times(account)
    return allocation


def _times(account: JobAccount) -> tuple[float, float]:
    return account.begin, account.begin + account.elapsed_s if account.end is None else account.end


def _unseen(account: JobAccount, runs: Runs, pooled: bool) -> tuple[str, Cause]:
    """The trial and the cause of a start of a job in which no run of a trial began."""
    attempt = runs.attempt_of(account.job_id)
    if account.state.interruption:
        cause = Cause.PREEMPTION
    elif attempt is None:
        cause = Cause.STARTUP if pooled else Cause.ZOMBIE
    elif any(run.revoked for run in runs.by_attempt.get(attempt, ())):
        cause = Cause.ZOMBIE
    else:
        cause = Cause.FAILURE if account.state in (JobState.FAILED, JobState.OUT_OF_MEMORY) else Cause.STARTUP
    return (attempt[0] if attempt is not None else ""), cause


def _pieces(lane: Lane, runs: Runs) -> Iterator[Piece]:
    for span in lane.spans:
        match span.use:
            case Use.STARTUP:
                yield Piece(_cause_of_start(lane, runs), span.begin, span.end, lane.trial)
            case Use.IDLE:
                yield Piece(Cause.IDLE, span.begin, span.end, lane.trial)
            case Use.TRIAL:
                run = runs.at(span.trial, span.attempt, span.begin, span.end)
                yield from _of_run(span, run, span.begin, span.end)


def _cause_of_start(lane: Lane, runs: Runs) -> Cause:
    """The cause of the time before a run: start-up, but if no run came of it."""
    if lane.worker or any(span.use is Use.TRIAL for span in lane.spans):
        return Cause.STARTUP
    run = next(iter(runs.by_attempt.get((lane.trial, lane.attempt), ())), None)
    lost = run.lost() if run is not None else None
    return Cause.STARTUP if lost is None else lost[0]


def _moved(piece: Piece, ours: tuple[float, float], theirs: tuple[float, float]) -> Piece:
    """A piece by the accounting's clock, where ``theirs`` is what is ``ours`` by our own."""
    factor = (theirs[1] - theirs[0]) / (ours[1] - ours[0])
    begin, end = (theirs[0] + (at - ours[0]) * factor for at in (piece.begin, piece.end))
    return replace(piece, begin=begin, end=end)


def _of_run(span: Span, run: Run | None, begin: float, end: float) -> Iterator[Piece]:
    """A stretch of a run: of use, then lost, then a zombie's."""
    lost = run.lost() if run is not None else None
    replaced = run.replaced_at if run is not None and run.replaced_at is not None else end
    since = lost[1] if lost is not None else replaced
    cuts = [begin, *(min(max(at, begin), end) for at in (min(since, replaced), replaced)), end]
    causes = (Cause.USER_CODE, lost[0] if lost is not None else Cause.USER_CODE, Cause.ZOMBIE)
    for cause, left, right in zip(causes, cuts, cuts[1:], strict=False):
        if right > left:
            yield Piece(cause, left, right, span.trial)


def _filled(pieces: Iterable[Piece], lane: Lane, runs: Runs, begin: float, end: float) -> Iterator[Piece]:
    """The pieces within begin and end of the allocation, and what lies between them."""
    at, first = begin, True
    for piece in pieces:
        left, right = max(piece.begin, at), min(piece.end, end)
        if right <= left:
            continue
        if left > at:
            yield Piece(Cause.STARTUP if first else Cause.IDLE, at, left, lane.trial)
        yield Piece(piece.cause, left, right, piece.trial)
        at, first = right, False
    if at < end:
        yield from _tail(lane, runs, at, end)


def _tail(lane: Lane, runs: Runs, begin: float, end: float) -> Iterator[Piece]:
    """What an allocation was used for after the last that our own records say of it."""
    last = lane.spans[-1] if lane.spans else None
    if last is None or last.use is not Use.TRIAL:
        never = last is not None and last.use is Use.STARTUP
        yield Piece(_cause_of_start(lane, runs) if never else Cause.IDLE, begin, end, lane.trial)
        return
    run = runs.at(last.trial, last.attempt, last.begin, last.end)
    if run is None or run.outcome is not None:
        yield Piece(Cause.IDLE, begin, end, lane.trial)
    else:
        yield from _of_run(last, run, begin, end)
