"""The ledger of an experiment: a row for each stretch of time, job and cause. All sums are sums of these rows."""

from __future__ import annotations

import pwd
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hpctune.analysis.cost import accounts as slurm
from hpctune.analysis.cost.allocations import Allocation, allocations
from hpctune.analysis.cost.runs import Cause, Runs
from hpctune.analysis.cost.value import Value, value_of
from hpctune.analysis.followed import FollowedExperiment, Reading
from hpctune.analysis.timeline import Lane, Use
from hpctune.cluster.amounts import amounts_of
from hpctune.cluster.pool.sizing import WorkerShape
from hpctune.cluster.slurm import nodelist
from hpctune.common.text import count
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.usage import Amounts, JobAccount
from hpctune.storage import driver_jobs, worker_files
from hpctune.storage.layout import ExperimentPaths


@dataclass(frozen=True, slots=True)
class Row:
    """One stretch of the time of one job (of one of the ``places`` in it) with one cause.

    ``allocation``: the start of the job, unique in the ledger. ``seconds``: its length, without suspension. ``asked``
    and ``held``: of this place. ``week``: such as ``2024-W20``; a stretch does not cross its end. "": not known, or of
    no trial.
    """

    experiment: str
    allocation: str
    job: str
    trial: str
    partition: str
    account: str
    user: str
    week: str
    begin: float
    seconds: float
    cause: Cause
    asked: Amounts
    held: Amounts


@dataclass(frozen=True, slots=True)
class Ledger:
    """The rows of one or several experiments.

    ``used``: CPU seconds that the processes of an allocation used, by ``Row.allocation``; only where Slurm knows it.
    ``sources``: for each experiment, where its rows come from. ``values``: what its search was worth.
    """

    rows: Sequence[Row] = ()
    used: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)

    def __add__(self, other: Ledger) -> Ledger:
        """Both together."""
        return Ledger(
            [*self.rows, *other.rows],
            {**self.used, **other.used},
            {**self.sources, **other.sources},
            {**self.values, **other.values},
        )


def ledger(path: str | Path, accounts: slurm.Accounts | None = None) -> Ledger:
    """The ledger of the experiment in ``path``.

    ``accounts``: Slurm's accounts of its jobs; None: asks Slurm, if its jobs run there. Jobs that the accounting does
    not know are taken from the experiment's own records. Raises NotAnExperimentError.
    """
    return ledger_from(FollowedExperiment(path).read(), accounts)


def ledger_from(read: Reading, accounts: slurm.Accounts | None = None) -> Ledger:
    """The same from an experiment that was read already."""
    view, runs, lanes = read.view, read.runs, read.lanes
    paths, spec = view.paths, view.state.spec
    drivers = _drivers(paths, view.state.last_at)
    if accounts is None:
        ids = {*runs.attempts, *(lane.job_id for lane in lanes), *(lane.job_id for lane in drivers)}
        accounts = slurm.ask(paths, spec, ids)
    maker = _RowMaker(paths, spec, runs)
    found = allocations(lanes, runs, accounts.jobs, drivers)
    rows = [row for each in found for row in maker.rows(each)]
    used = {_key(paths, a): a.account.used_cpu_s for a in found if a.account and a.account.used_cpu_s is not None}
    name = paths.root.name
    return Ledger(rows, used, {name: _source(found, accounts)}, {name: value_of(view.state, rows)})


def ledger_of(paths: Sequence[str | Path]) -> Ledger:
    """The ledger of several experiments together."""
    together = Ledger()
    for path in paths:
        together += ledger(path)
    return together


def _source(found: Sequence[Allocation], accounts: slurm.Accounts) -> str:
    if accounts.why_not:
        return f"hpctune's own records ({accounts.why_not})"
    missing = sum(a.account is None for a in found)
    return "Slurm's accounting" + (f", but {count(missing, 'job')} from hpctune's own records" if missing else "")


def _drivers(paths: ExperimentPaths, last: float) -> list[Lane]:
    """The driver jobs that have started, as allocations."""
    lanes = []
    for job in driver_jobs.read(paths):
        lane = Lane(job.job_id, job_id=job.job_id)
        lane.add(Use.IDLE, job.started_at, job.left_at or last)
        if lane.spans:
            lanes.append(lane)
    return lanes


def _key(paths: ExperimentPaths, allocation: Allocation) -> str:
    return f"{paths.root.name}:{allocation.job_id}:{allocation.held[0]:.3f}"


class _RowMaker:
    """Makes the rows of an experiment's allocations."""

    def __init__(self, paths: ExperimentPaths, spec: ExperimentSpec, runs: Runs) -> None:
        self._paths, self._spec, self._runs = paths, spec, runs
        self._user = _owner(paths)

    def rows(self, allocation: Allocation) -> Iterator[Row]:
        """The rows of one allocation, whose sum is all of its time."""
        places = list(allocation.pieces(self._runs))
        begin, end = allocation.held
        account = allocation.account
        running = 1.0 if account is None or end <= begin else account.elapsed_s / (end - begin)
        draft = self._draft(allocation, account, 1 / len(places))
        for piece in (piece for pieces in places for piece in pieces):
            for week, left, right in _weeks(piece.begin, piece.end):
                seconds = (right - left) * running
                yield replace(
                    draft, trial=piece.trial, cause=piece.cause, week=week, begin=left, seconds=seconds
                )  # fmt: skip

    def _draft(self, allocation: Allocation, account: JobAccount | None, share: float) -> Row:
        """What all rows of an allocation have in common."""
        options = self._spec.cluster_options
        asked = held = self._amounts(allocation)
        where = (str(options.get("partition") or ""), str(options.get("account") or ""), self._user)
        if account is not None:
            asked, held = account.asked, account.held
            where = (account.partition, account.account, account.user)
        return Row(
            self._paths.root.name, _key(self._paths, allocation), allocation.job_id, "", *where, "", 0.0, 0.0,
            Cause.IDLE, asked.times(share), held.times(share),
        )  # fmt: skip

    def _amounts(self, allocation: Allocation) -> Amounts:
        """What the job asked for, by our own records."""
        spec = self._spec
        if allocation.cause is Cause.DRIVER and not allocation.lanes:
            return Amounts(1, 0, 1)
        lane = allocation.lanes[0] if allocation.lanes else Lane("")
        nodes = ""
        if lane.worker:
            worker = worker_files.read_spec(self._paths.worker(lane.worker))
            resources = Resources()
            if worker is not None:
                resources = WorkerShape(Resources.from_json(worker.resources), worker.slots).job
        else:
            resources = self._runs.asked(lane.trial, lane.attempt) or Resources()
            nodes = next((run.nodes for run in self._runs.by_attempt.get((lane.trial, lane.attempt), ())), "")
        amounts = amounts_of(resources, spec.cluster, spec.cluster_options)
        return replace(amounts, nodes=float(nodelist.count(nodes) or amounts.nodes) if nodes else amounts.nodes)


def _owner(paths: ExperimentPaths) -> str:
    uid = paths.spec.stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _weeks(begin: float, end: float) -> Iterator[tuple[str, float, float]]:
    """The parts of a stretch of time by calendar week (ISO 8601, local time)."""
    while begin < end:
        day = datetime.fromtimestamp(begin)
        year, week, weekday = day.isocalendar()
        monday = datetime(day.year, day.month, day.day) + timedelta(days=8 - weekday)
        until = min(end, monday.timestamp())
        yield f"{year}-W{week:02d}", begin, until
        begin = until
