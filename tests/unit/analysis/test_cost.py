"""The cost ledger: what each moment of each allocation is booked on, from journals, workers' records and accounts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctune.analysis.cost.accounts import Accounts, ask
from hpctune.analysis.cost.groups import KEYS, Group, grouped, total
from hpctune.analysis.cost.ledger import Ledger, ledger
from hpctune.analysis.cost.runs import Cause
from hpctune.analysis.cost.tables import summary
from hpctune.cli.main import cli
from hpctune.model import events as e
from hpctune.model.budget import Budget
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import JobState
from hpctune.model.pool import Began, Claimed, Ended, Left, Ready, WorkerSpec
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.model.usage import Amounts, JobAccount
from hpctune.storage import journal, spec_file, worker_files
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.worker_files import WorkerFile

NOON = datetime(2024, 5, 17, 12).timestamp()
"""A Friday."""
TWO_CPUS = Resources((Bundle(2.0, 1.0),))


def record(paths: ExperimentPaths, *events: tuple[float, e.Event]) -> None:
    book = journal.Journal(paths.journal)
    book.append([[e.Recorded(NOON + at, event)] for at, event in events])
    book.close()


def begun(trial: str, job: str, at: float, *, attempt: int = 1, restart: int = 0) -> list[tuple[float, e.Event]]:
    """A trial's attempt whose job begins at ``at``, and whose run claims it two seconds later."""
    new: list[tuple[float, e.Event]] = [(0.0, e.TrialAdded(trial, 0, trial, trial, "", {}, {}, TWO_CPUS))]
    asked: list[tuple[float, e.Event]] = [(at - 1, e.SubmitRequested(trial, attempt))]
    run = RunKey(trial, attempt, restart)
    started = e.RunStarted(run, job, "n", 1, "n", NOON + at + 2, NOON + at)
    first = attempt == 1 and restart == 0
    return [*(new if first else []), *(asked if restart == 0 else []), (at + 2.1, started)]


def result(trial: str, seq: int, at: float, saved: str | None = None, attempt: int = 1) -> tuple[float, e.Event]:
    row = {"loss": 1.0, "training_iteration": seq}
    checkpoint = CheckpointRef(saved, seq) if saved else None
    return at, e.ResultReported(RunKey(trial, attempt, 0), seq, row, e.Verdict.COUNTED, checkpoint)


def left(trial: str, at: float, outcome: Outcome, attempt: int = 1, restart: int = 0) -> tuple[float, e.Event]:
    return at, e.RunEnded(RunKey(trial, attempt, restart), outcome, "why", None, None, NOON + at)


def over(trial: str, at: float, phase: Phase = Phase.TERMINATED, reason: str = "") -> tuple[float, e.Event]:
    error = ErrorInfo("ValueError", "no") if phase is Phase.ERROR else None
    return at, e.TrialEnded(trial, phase, reason, error)


def account(
    job: str, begin: float, end: float | None, state: JobState = JobState.COMPLETED, **more: float
) -> JobAccount:
    elapsed = more.get("elapsed", (end or begin) - begin)
    used = more.get("used")
    ends = None if end is None else NOON + end
    held = Amounts(4, 1, 1, 10.0)
    return JobAccount(
        job, "gpu", "physics", "ada", NOON + begin, ends, elapsed, state, Amounts(2, 1, 1, 8.0), held, used
    )


def seconds(book: Ledger) -> dict[str, float]:
    """Seconds by cause."""
    found: dict[str, float] = {}
    for row in book.rows:
        found[row.cause.value] = round(found.get(row.cause.value, 0.0) + row.seconds, 3)
    return found


def own(paths: ExperimentPaths) -> Ledger:
    return ledger(paths.root, Accounts(why_not="none"))


def told(paths: ExperimentPaths, *jobs: JobAccount) -> Ledger:
    return ledger(paths.root, Accounts(list(jobs)))


def test_a_trial_that_does_well(empty: ExperimentPaths) -> None:
    record(empty, *begun("t1", "7", 10), result("t1", 1, 50), left("t1", 100, Outcome.COMPLETED), over("t1", 101))
    assert seconds(own(empty)) == {"start-up": 2, "user code": 88}
    book = told(empty, account("7", 9, 105, used=33.0))
    assert seconds(book) == {"start-up": 3, "user code": 88, "idle": 5}
    (group,) = grouped(book, "trial")
    assert group == Group(
        "t1", 1, 1, *(pytest.approx(n * 96 / 3600) for n in (2, 4)), pytest.approx(33 / 3600),
        *(pytest.approx(n * 96 / 3600) for n in (1, 1, 1, 1, 10)),
    )  # fmt: skip
    assert {g.cpu_hours_used for g in grouped(book, "cause")} == {None}, "of a part of a job it is not known"
    assert [grouped(book, by)[0].key for by in ("partition", "account", "user", "week", "job", "experiment")] == [
        "gpu", "physics", "ada", "2024-W20", "7", "exp",
    ]  # fmt: skip
    assert book.values["exp"].best == "t1"


def test_work_after_the_last_checkpoint_is_lost(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 10), result("t1", 1, 52, "c1"), result("t1", 2, 92),
        left("t1", 100, Outcome.INTERRUPTED), (101, e.JobEnded("t1", 1, JobState.PREEMPTED)),
        (102, e.RetryScheduled("t1", "preempted", counts=False)),
        *begun("t1", "8", 110, attempt=2), result("t1", 2, 150, attempt=2), left("t1", 152, Outcome.FAILED, attempt=2),
        (153, e.RetryScheduled("t1", "failed", counts=True)),
        *begun("t1", "9", 160, attempt=3), left("t1", 172, Outcome.COMPLETED, attempt=3), over("t1", 173),
    )  # fmt: skip
    assert seconds(own(empty)) == {"start-up": 6, "user code": 50, "preemption": 48, "failure": 40}


def test_a_failed_trial_is_lost_as_a_whole(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), result("t1", 1, 50, "c1"), left("t1", 62, Outcome.FAILED),
        over("t1", 63, Phase.ERROR),
        *begun("t2", "8", 0), (100, e.RunGivenUp("t2", 1, ErrorInfo("Hung", "silent"))), over("t2", 101, Phase.ERROR),
    )  # fmt: skip
    assert seconds(own(empty)) == {"start-up": 4, "failure": 158}
    killed = told(empty, account("7", 0, 62), account("8", 0, 110, JobState.CANCELLED))
    assert seconds(killed) == {"start-up": 4, "failure": 168}, "until the job of the trial that hung was over"


def test_stopped_by_a_user_or_a_scheduler_is_no_loss(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), (30, e.StopRequested("t1", "enough")),
        (40, e.JobEnded("t1", 1, JobState.CANCELLED)),
        over("t1", 41), *begun("t2", "8", 0), left("t2", 20, Outcome.PAUSED), (21, e.TrialPaused("t2")),
    )  # fmt: skip
    assert seconds(own(empty)) == {"start-up": 4, "user code": 56}


def test_a_requeued_job_has_two_starts(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), (62, e.JobChanged("t1", 1, "7", JobState.PENDING)),
        *begun("t1", "7", 100, restart=1), left("t1", 122, Outcome.COMPLETED, restart=1), over("t1", 123),
    )  # fmt: skip
    assert seconds(own(empty)) == {"start-up": 4, "preemption": 60, "user code": 20}
    book = told(empty, account("7", 0, 60, JobState.PREEMPTED, used=5.0), account("7", 100, 124, used=7.0))
    assert seconds(book) == {"start-up": 4, "preemption": 58, "user code": 20, "idle": 2}
    assert total(book).jobs == 1
    assert total(book).cpu_hours_used == pytest.approx(12 / 3600)


def test_a_zombie_holds_its_job_after_another_run_has_begun(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), (50, e.JobEnded("t1", 1, JobState.LOST)),
        (51, e.RetryScheduled("t1", "lost", counts=False)),
        *begun("t1", "8", 60, attempt=2), left("t1", 100, Outcome.COMPLETED, attempt=2), over("t1", 101),
    )  # fmt: skip
    book = told(empty, account("7", 0, 90), account("8", 60, 100))
    assert seconds(book) == {"start-up": 4, "preemption": 60, "zombie": 28, "user code": 38}


def test_jobs_in_which_nothing_began(empty: ExperimentPaths) -> None:
    added = e.TrialAdded("t1", 0, "t1", "t1", "", {}, {}, TWO_CPUS)
    record(
        empty, (0, added), (1, e.SubmitRequested("t1", 1)), (2, e.SubmitAcknowledged("t1", 1, "7")),
        (10, e.JobChanged("t1", 1, "7", JobState.RUNNING)), (30, e.JobEnded("t1", 1, JobState.NODE_FAIL)),
        (31, e.RetryScheduled("t1", "lost", counts=False)),
        (32, e.SubmitRequested("t1", 2)), (33, e.SubmitUnanswered("t1", 2, "?")),
        (60, e.AttemptRevoked("t1", 2, "gone")),
    )  # fmt: skip
    assert seconds(own(empty)) == {"preemption": 20}
    orphan = account("9", 40, 45)
    book = told(empty, account("7", 9, 29, JobState.NODE_FAIL), orphan)
    assert seconds(book) == {"preemption": 20, "zombie": 5}, "nothing needed the job of the revoked attempt"


def test_what_the_accounting_does_not_know_is_from_our_own_records(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), left("t1", 50, Outcome.COMPLETED), over("t1", 51),
        *begun("t2", "8", 0), left("t2", 60, Outcome.COMPLETED), over("t2", 61),
    )  # fmt: skip
    book = told(empty, account("7", 0, 50))
    assert book.sources["exp"] == "Slurm's accounting, but 1 job from hpctune's own records"
    assert total(book).cpu_hours_held == pytest.approx((4 * 50 + 2 * 60) / 3600)
    assert total(book).billing_hours is None
    assert {row.partition for row in book.rows} == {"gpu", ""}


def test_a_running_job_and_a_suspended_one(empty: ExperimentPaths) -> None:
    record(
        empty, *begun("t1", "7", 0), (20, e.BudgetUsed(1.0)),
        *begun("t2", "8", 0), left("t2", 102, Outcome.COMPLETED), over("t2", 103),
    )  # fmt: skip
    book = told(empty, account("7", 0, None, JobState.RUNNING, elapsed=500), account("8", 0, 102, elapsed=51))
    by_trial = {trial: sum(r.seconds for r in book.rows if r.trial == trial) for trial in ("t1", "t2")}
    assert by_trial == pytest.approx({"t1": 500, "t2": 51}), "without the time for which it was suspended"
    assert seconds(book) == {"start-up": 3, "user code": 548}


def worker(paths: ExperimentPaths, *records: object) -> None:
    own = paths.worker("w0001")
    own.root.mkdir(parents=True)
    shape = Resources((Bundle(1.0, 0.5),)).to_json()
    worker_files.write_spec(own, WorkerSpec("e", "w0001", slots=2, resources=shape))
    file = WorkerFile.claim(own.run(0), Claimed(0, "9", "n", 1, NOON + 12, NOON + 10))
    assert file is not None
    file.append(*records)  # type: ignore[arg-type]


def test_places_of_a_worker_share_its_job(empty: ExperimentPaths) -> None:
    tags = [str(Tag("e", f"t{n}", 1)) for n in range(3)]
    first, *_ = begun("t1", "x", 0)
    record(
        empty, first, (1, e.SubmitRequested("t1", 1)), (20, e.RunStarted(RunKey("t1", 1, 0), "w0001.1", "n", 1)),
        left("t1", 60, Outcome.FAILED), over("t1", 61, Phase.ERROR), (110, e.BudgetUsed(1.0)),
    )  # fmt: skip
    worker(
        empty, Ready(NOON + 16), Began(1, tags[1], 0, ("", ""), NOON + 20), Ended(1, 1, NOON + 60),
        Began(2, tags[2], 0, ("", ""), NOON + 60), Ended(2, 0, NOON + 100), Left("over", NOON + 110),
    )  # fmt: skip
    for book in (own(empty), told(empty, account("9", 10, 110))):
        assert seconds(book) == {"start-up": 12, "idle": 108, "failure": 40, "user code": 40}
        assert total(book).node_hours_held == pytest.approx(100 / 3600), "the two places together"
        assert total(book).jobs == 1
    assert total(own(empty)).gpu_hours_held == pytest.approx(100 / 3600)
    assert {r.trial for r in own(empty).rows if r.cause in (Cause.IDLE, Cause.STARTUP)} == {""}


def test_weeks_and_driver_jobs(empty: ExperimentPaths) -> None:
    days = 3 * 86400  # into Monday, at noon
    record(empty, *begun("t1", "7", 0), left("t1", days, Outcome.COMPLETED), over("t1", days + 1))
    empty.drivers.mkdir()
    job = {"job_id": "3", "started_at": NOON, "left_at": NOON + 600}
    (empty.drivers / "3.json").write_text(json.dumps(job))
    book = own(empty)
    weeks = {group.key: group.node_hours_held for group in grouped(book, "week")}
    assert weeks == {"2024-W20": pytest.approx(60 + 1 / 6), "2024-W21": pytest.approx(12)}
    assert [g.key for g in grouped(book, "week")] == ["2024-W20", "2024-W21"]
    assert {g.key: g.cpu_hours_held for g in grouped(book, "cause")}["driver"] == pytest.approx(1 / 6)


def early(paths: ExperimentPaths, **criteria: int) -> Ledger:
    """t1 is stopped after 2 iterations of 20 s; t2 ends by itself after 100 s."""
    spec = spec_file.read(paths)
    spec_file.write(paths, type(spec).from_json({**spec.to_json(), "criteria": criteria}))
    record(
        paths, *begun("t1", "7", 0), result("t1", 1, 22), result("t1", 2, 42), (42, e.StopRequested("t1", "rung")),
        left("t1", 42, Outcome.STOPPED), over("t1", 43, reason="rung"),
        *begun("t2", "8", 0), result("t2", 1, 40), left("t2", 102, Outcome.COMPLETED), over("t2", 103),
        *begun("t3", "9", 0), (10, e.StopRequested("t3", "stopped by hpctune stop")), left("t3", 20, Outcome.STOPPED),
        over("t3", 21),
    )  # fmt: skip
    return own(paths)


def test_what_early_stopping_saved(empty: ExperimentPaths) -> None:
    value = early(empty).values["exp"]
    assert (value.stopped, value.unknown) == (1, 0), "one that a user stopped is none"
    assert value.saved.gpus == pytest.approx(60 / 3600), "100 s that a trial takes, less its 40 s"
    assert "the median length" in value.how


def test_what_early_stopping_saved_by_iterations(empty: ExperimentPaths) -> None:
    value = early(empty, training_iteration=10).values["exp"]
    assert value.saved.cpus == pytest.approx(2 * 8 * 20 / 3600)
    assert value.how.startswith("their mean time per iteration")


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, ["cost", *words], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.output


def test_the_command(empty: ExperimentPaths) -> None:
    assert "No job has begun yet" in run(str(empty.root))
    early(empty)
    text = run(str(empty.root)).splitlines()
    assert text[0] == "exp: from hpctune's own records (its jobs do not run on Slurm)"
    assert text[2].split("  ")[0] == "cause"
    assert [line.split()[0] for line in text[3:6]] == ["user", "start-up", "all"]
    assert "Early stopping of 1 trial saved about" in text[7]
    rows = list(csv.DictReader(io.StringIO(run(str(empty.root), "--by", "trial", "--csv"))))
    assert [row["trial"] for row in rows] == ["t2", "t1", "t3", "all"]
    assert float(rows[0]["gpu_hours_held"]) == pytest.approx(102 / 3600)
    assert rows[0]["cpu_hours_used"] == ""
    data = json.loads(run(str(empty.root), str(empty.root), "--json", "--by", "week"))
    assert data["total"]["trials"] == 3, "named twice, counted once"
    assert data["values"]["exp"]["stopped_early"] == 1
    assert summary(own(empty)).endswith("96% user code, 4% start-up")
    status = CliRunner().invoke(cli, ["status", str(empty.root)], standalone_mode=False).output
    assert "\n  cost      0.0456 GPU hours, 0.0911 CPU hours held: 96% user code, 4% start-up\n" in status


@pytest.mark.parametrize(
    ("held", "words"),
    [(12.3, "12.3 of 200 GPU hours held (6%)"), (160.0, "160 of 200 GPU hours held (80%): no trial starts that could")],
)
def test_status_shows_the_budget(empty: ExperimentPaths, held: float, words: str) -> None:
    spec_file.write(empty, replace(spec_file.read(empty), budget=Budget(200.0, "gpuh")))
    record(empty, (1.0, e.BudgetUsed(1.0, held)))
    status = CliRunner().invoke(cli, ["status", str(empty.root)], standalone_mode=False).output
    assert f"\n  budget    {words}" in status
    data = json.loads(CliRunner().invoke(cli, ["status", str(empty.root), "--json"], standalone_mode=False).output)
    assert data["budget"] == {"amount": 200.0, "unit": "GPU hours", "held": held}


def test_a_wrong_budget_on_the_command_line() -> None:
    done = CliRunner().invoke(cli, ["resume", "x", "--budget", "5h"])
    assert done.exit_code == 2
    assert "budget='5h' is not a budget" in done.output


@pytest.mark.parametrize("by", KEYS)
def test_all_sums_are_the_same(empty: ExperimentPaths, by: str) -> None:
    book = early(empty)
    whole = total(book)
    groups: Sequence[Group] = grouped(book, by)
    assert sum(g.cpu_hours_held for g in groups) == pytest.approx(whole.cpu_hours_held)
    assert sum(g.gpu_hours_asked for g in groups) == pytest.approx(whole.gpu_hours_asked)


def test_no_accounting(empty: ExperimentPaths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = spec_file.read(empty)
    slurm = type(spec).from_json({**spec.to_json(), "cluster": "slurm"})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask(empty, slurm, []).why_not == "sacct is not on PATH here"
    sacct = tmp_path / "sacct"
    sacct.write_text("#!/bin/sh\necho 'Slurm accounting storage is disabled' >&2; exit 1\n")
    sacct.chmod(0o755)
    assert "Slurm accounting storage is disabled" in ask(empty, slurm, []).why_not
