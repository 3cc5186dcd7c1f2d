"""The ledger for random histories and accounts: nothing is counted twice, nothing is left out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings, strategies as st

from hpctune.analysis.cost.accounts import Accounts
from hpctune.analysis.cost.allocations import allocations
from hpctune.analysis.cost.groups import KEYS, grouped, total
from hpctune.analysis.cost.ledger import Ledger, ledger
from hpctune.analysis.cost.runs import Runs
from hpctune.analysis.timeline import timeline_of
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.model.usage import Amounts, JobAccount
from hpctune.storage import journal, spec_file
from hpctune.storage.layout import ExperimentPaths

T0 = 1_700_000_000.0


@dataclass
class World:
    """A history of trials, and what Slurm says of their jobs."""

    events: list[e.Recorded]
    accounts: list[JobAccount]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    events: list[e.Recorded] = []
    accounts: list[JobAccount] = []
    seconds = st.floats(0.0, 400_000.0) | st.floats(0.0, 60.0)
    job = 0
    for n in range(draw(st.integers(1, 4))):
        trial, at = f"t{n}", T0 + draw(seconds)
        resources = Resources((Bundle(draw(st.sampled_from([1.0, 2.0])), draw(st.sampled_from([0.0, 1.0]))),))
        events.append(e.Recorded(T0, e.TrialAdded(trial, n, trial, trial, "", {}, {}, resources)))
        for attempt in range(1, draw(st.integers(1, 3)) + 1):
            job += 1
            at += draw(seconds)
            events.append(e.Recorded(at, e.SubmitRequested(trial, attempt)))
            for restart in range(draw(st.integers(0, 2)) + 1):
                at += draw(seconds)
                begin = at
                claimed = draw(st.booleans())
                if claimed:
                    at += draw(seconds)
                    events.append(
                        e.Recorded(at, e.RunStarted(RunKey(trial, attempt, restart), str(job), "n", 1, "n", at, begin))
                    )
                    if draw(st.booleans()):
                        at += draw(seconds)
                        saved = CheckpointRef("c", 1) if draw(st.booleans()) else None
                        row = {"training_iteration": 1}
                        reported = e.ResultReported(RunKey(trial, attempt, restart), 1, row, checkpoint=saved)
                        events.append(e.Recorded(at, reported))
                else:
                    events.append(e.Recorded(at, e.JobChanged(trial, attempt, str(job), JobState.RUNNING)))
                at += draw(seconds)
                end = at + draw(seconds)  # a zombie goes on after we believe that it is over
                if draw(st.booleans()):
                    elapsed = draw(st.sampled_from([1.0, 0.5])) * (end - begin)
                    held = Amounts(4, resources.gpus, 1, 7.0)
                    running = draw(st.booleans())
                    accounts.append(
                        JobAccount(
                            str(job), "p", "a", "u", begin, None if running else end, elapsed,
                            draw(st.sampled_from([JobState.COMPLETED, JobState.PREEMPTED, JobState.FAILED])),
                            Amounts(1, 0, 1), held, 3.0,
                        )
                    )  # fmt: skip
                if draw(st.booleans()):
                    events.append(e.Recorded(at, e.JobChanged(trial, attempt, str(job), JobState.PENDING)))
            ways = ["ended", "job", "given up", "revoked", "nothing"]
            match draw(st.sampled_from(ways)):
                case "ended":
                    outcome = draw(st.sampled_from(Outcome))
                    over: e.Event = e.RunEnded(RunKey(trial, attempt, restart), outcome, "", left_at=at)
                case "job":
                    over = e.JobEnded(trial, attempt, draw(st.sampled_from(JobState)))
                case "given up":
                    over = e.RunGivenUp(trial, attempt, ErrorInfo("Hung", ""))
                case "revoked":
                    over = e.AttemptRevoked(trial, attempt, "")
                case _:
                    continue
            events.append(e.Recorded(at, over))
            events.append(e.Recorded(at, e.RetryScheduled(trial, "", counts=draw(st.booleans()))))
        if draw(st.booleans()):
            phase = draw(st.sampled_from([Phase.TERMINATED, Phase.ERROR]))
            events.append(e.Recorded(at, e.TrialEnded(trial, phase, "")))
    accounts.append(JobAccount("999", "p", "a", "u", T0, T0 + 10, 10, JobState.COMPLETED, Amounts(1), Amounts(1), None))
    return World(sorted(events, key=lambda r: r.at), accounts)


def book_of(world: World, paths: ExperimentPaths) -> Ledger:
    spec_file.write(paths, ExperimentSpec("e1", paths.root.name, T0, "f", metric="loss", mode="min"))
    book = journal.Journal(paths.journal)
    book.append([[recorded] for recorded in world.events])
    book.close()
    return ledger(paths.root, Accounts(world.accounts))


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_the_pieces_of_an_allocation_are_all_of_its_time(world: World) -> None:
    runs = Runs.of(world.events)
    paths = ExperimentPaths(Path("/nowhere/e"))
    found = allocations(timeline_of(paths, world.events), runs, world.accounts)
    assert sum(a.account is not None for a in found) == len(world.accounts), "each account is booked once"
    for one in found:
        begin, end = one.held
        for pieces in one.pieces(runs):
            at = begin
            for piece in pieces:
                assert piece.begin == pytest.approx(at, abs=1e-4), "no gap, no overlap"
                assert piece.end > piece.begin or begin == end
                at = piece.end
            assert at == pytest.approx(end, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(worlds())
def test_all_sums_are_what_the_accounting_says(world: World) -> None:
    with TemporaryDirectory() as folder:
        book = book_of(world, ExperimentPaths(Path(folder)))
    whole = total(book)
    for by in KEYS:
        groups = grouped(book, by)
        assert sum(g.cpu_hours_held for g in groups) == pytest.approx(whole.cpu_hours_held)
        assert sum(g.gpu_hours_held for g in groups) == pytest.approx(whole.gpu_hours_held)
        assert sum(g.node_hours_asked for g in groups) == pytest.approx(whole.node_hours_asked)
    by_allocation: dict[str, float] = defaultdict(float)
    for row in book.rows:
        by_allocation[row.allocation] += row.seconds if row.user == "u" else 0.0
    told = sum(account.elapsed_s for account in world.accounts)
    assert sum(by_allocation.values()) == pytest.approx(told, abs=1e-3)
