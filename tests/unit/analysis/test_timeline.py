"""Where the time went: from journals and workers' records to spans, and the picture of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctune.analysis.gantt import MAX_LANES, draw, packed, shares
from hpctune.analysis.timeline import Lane, Span, Use, seconds, timeline
from hpctune.cli.main import cli
from hpctune.errors import MissingPackageError, UsageError
from hpctune.model import events as e
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import JobState
from hpctune.model.pool import Began, Claimed, Ended, Left, Ready, WorkerSpec
from hpctune.model.records import Outcome
from hpctune.model.resources import Resources
from hpctune.storage import journal, worker_files
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.worker_files import WorkerFile


def spans(lane: Lane) -> list[tuple[str, float, float, str]]:
    return [(span.use.value, span.begin, span.end, span.trial) for span in lane.spans]


def record(paths: ExperimentPaths, *events: tuple[float, e.Event]) -> None:
    book = journal.Journal(paths.journal)
    book.append([[e.Recorded(at, event)] for at, event in events])
    book.close()


def added(trial_id: str) -> e.TrialAdded:
    return e.TrialAdded(trial_id, 0, trial_id, trial_id, "", {}, {}, Resources())


def test_a_job_waits_starts_and_runs(empty: ExperimentPaths) -> None:
    run, again, other = RunKey("t1", 1, 0), RunKey("t1", 1, 1), RunKey("t2", 1, 0)
    record(
        empty,
        (1.0, added("t1")), (1.0, added("t2")),
        (2.0, e.SubmitRequested("t1", 1)), (2.5, e.SubmitRequested("t2", 1)),
        (14.0, e.RunStarted(run, "7_0", "n", 1, "", 12.0, 11.5)),
        (15.0, e.RunStarted(other, "7_1", "n", 1)),
        (21.0, e.RunEnded(run, Outcome.INTERRUPTED, "USR2", None, None, 20.5)),
        (31.0, e.RunStarted(again, "7_0", "n", 1, "", 30.5, 30.0)),
        (40.0, e.JobEnded("t1", 1, JobState.NODE_FAIL)),
        (50.0, e.BudgetUsed(1.0)),
    )  # fmt: skip
    first, second, requeued = timeline(empty.root)
    assert spans(first) == [("queue", 2, 11.5, ""), ("start-up", 11.5, 12, ""), ("trial", 12, 20.5, "t1")]
    assert spans(second) == [("queue", 2.5, 15, ""), ("trial", 15, 50, "t2")], "runs still; no time of its own is known"
    assert spans(requeued) == [("start-up", 30, 30.5, ""), ("trial", 30.5, 40, "t1")]
    assert (first.name, requeued.held) == ("7_0", (30.0, 40.0))


def test_a_worker_starts_runs_idles_and_starts_again(empty: ExperimentPaths) -> None:
    record(empty, (1.0, e.BudgetUsed(1.0)), (99.0, e.BudgetUsed(1.0)))
    own = empty.worker("w0001")
    own.root.mkdir(parents=True)
    worker_files.write_spec(own, WorkerSpec("e", "w0001", slots=2))
    os.utime(own.spec, (5.0, 5.0))
    tags = [str(Tag("e", f"t{n}", 1)) for n in range(4)]
    file = WorkerFile.claim(own.run(0), Claimed(0, "9_0", "n", 1, 10.0, 8.0))
    assert file is not None
    file.append(
        Ready(11.0), Began(1, tags[0], 0, ("", ""), 12.0), Began(2, tags[1], 1, ("", ""), 13.0), Ended(1, 0, 20.0),
        Began(3, tags[2], 0, ("", ""), 20.5), Ended(3, None, 30.0), Ended(2, 0, 33.0), Left("over", 35.0),
    )  # fmt: skip
    file = WorkerFile.claim(own.run(1), Claimed(1, "9_0", "n", 1, 50.0))
    assert file is not None
    file.append(Ready(51.0), Began(4, tags[3], 0, ("", ""), 51.0))
    first, beside, again, unused = timeline(empty.root)
    assert spans(unused) == [("start-up", 50, 51, ""), ("idle", 51, 99, "")]
    assert (unused.name, unused.job_id, unused.worker) == ("w0001/1 (1)", "9_0", "w0001")
    assert spans(first) == [
        ("queue", 5, 8, ""), ("start-up", 8, 11, ""), ("idle", 11, 12, ""), ("trial", 12, 20, "t0"),
        ("idle", 20, 20.5, ""), ("trial", 20.5, 30, "t2"), ("idle", 30, 35, ""),
    ]  # fmt: skip
    assert spans(beside)[2:] == [("idle", 11, 13, ""), ("trial", 13, 33, "t1"), ("idle", 33, 35, "")]
    assert spans(again) == [("start-up", 50, 51, ""), ("trial", 51, 99, "t3")]
    assert [lane.name for lane in (first, beside, again)] == ["w0001", "w0001/1", "w0001 (1)"]
    assert seconds([first])[Use.IDLE] == 6.5
    assert shares([first]) == "1 allocation, 27 s held: 64.8% trials, 11.1% start-up, 24.1% idle"


def lane(begin: float, end: float) -> Lane:
    return Lane("x", [Span(Use.QUEUE, 0.0, begin), Span(Use.TRIAL, begin, end, "t")])


def test_allocations_that_do_not_overlap_share_a_line() -> None:
    first, second, third, fourth = lane(1, 5), lane(2, 4), lane(4, 9), lane(5, 6)
    waits = Lane("w", [Span(Use.QUEUE, 0.0, 3.0)])
    assert packed([second, first, third, waits, fourth]) == [[first, fourth], [second, third]]


@pytest.mark.parametrize("count", [3, MAX_LANES + 5])
@pytest.mark.parametrize(("kind", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_it_is_drawn(tmp_path: Path, count: int, kind: str, magic: bytes) -> None:
    file = tmp_path / f"picture{kind}"
    draw([lane(n + 1, n + 3) for n in range(count)], "an experiment", file)
    assert file.read_bytes().startswith(magic)
    if kind == ".svg":
        assert file.read_text().count("jobs waiting") == 1


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg"):
        draw([lane(1, 2)], "x", tmp_path / "a.txt")
    with pytest.raises(UsageError, match="No job"):
        draw([], "x", tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"hpctune\[plots\]"):
        draw([lane(1, 2)], "x", tmp_path / "a.png")


def test_the_command_says_and_draws(empty: ExperimentPaths, tmp_path: Path) -> None:
    run = RunKey("t1", 1, 0)
    record(
        empty, (1.0, added("t1")), (2.0, e.SubmitRequested("t1", 1)),
        (4.0, e.RunStarted(run, "7", "n", 1, "", 4.0, 3.0)),
        (13.0, e.RunEnded(run, Outcome.COMPLETED, "", None, None, 13.0)),
    )  # fmt: skip
    file = tmp_path / "out.svg"
    done = CliRunner().invoke(cli, ["timeline", str(empty.root), "--gantt", str(file)], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.output == "exp: 1 allocation, 10 s held: 90.0% trials, 10.0% start-up, 0.0% idle\n"
    assert file.exists()
