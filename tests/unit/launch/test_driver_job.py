"""The driver as a Slurm job: its script, its options, what is noted of it, and when nobody is to follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpctune.cli import drivejob
from hpctune.cli.drivejob import MAX_DEATHS, YOUNG_S, deaths
from hpctune.cli.main import cli
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.driver_job import DriverJobOptions, DriverQueue, QueuedDriver, script
from hpctune.core.resume import ResumeChoice, reopenings
from hpctune.core.state import ExperimentState
from hpctune.driver.clock import WallClock
from hpctune.errors import UsageError
from hpctune.launch import driver_chain
from hpctune.model import events as e
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import driver_jobs
from hpctune.storage.driver_jobs import DriverJob
from hpctune.storage.layout import ExperimentPaths


def text(options: DriverJobOptions, slurm: SlurmOptions | None = None, environ: dict[str, str] | None = None) -> str:
    return script(ExperimentPaths(Path("/x y/e")), "n", "abc", options, slurm or SlurmOptions(), environ or {})


def test_the_script_asks_for_little_and_lives_once() -> None:
    lines = text(DriverJobOptions()).splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --comment=hpctune-driver:abc" in lines
    assert "#SBATCH --no-requeue" in lines
    assert "#SBATCH --signal=B:USR1@120" in lines
    assert not [line for line in lines if "--time" in line or "--partition" in line]
    assert lines[-3].startswith("trap '' USR1"), "Slurm's warning may come before there is anybody to heed it"
    assert lines[-2] == "exec >>'/x y/e/drivers'/\"$SLURM_JOB_ID\".out 2>&1"
    assert lines[-1].endswith(" -u -m hpctune.cli.drivejob '/x y/e'")


def test_whose_defaults_hold() -> None:
    profile = {"SBATCH_PARTITION": "p; rm", "SBATCH_ACCOUNT": "home", "SBATCH_MEM_PER_CPU": "9", "SLURM_MEM": "9",
               "SBATCH_OUTPUT": "x"}  # fmt: skip
    lines = text(DriverJobOptions(time="90"), SlurmOptions(account="own", partition="gpu"), profile).splitlines()
    assert '#SBATCH --partition="p; rm"' in lines
    assert "#SBATCH --account=own" in lines
    assert "#SBATCH --time=90" in lines
    assert "export SBATCH_PARTITION='p; rm'" in lines, "trials get what the profile says, also from within the job"
    assert "export SBATCH_MEM_PER_CPU=9" in lines
    assert not [line for line in lines if "mem-per-cpu" in line or "SLURM_MEM" in line or "SBATCH_OUTPUT" in line]
    assert "#SBATCH --account=mine" in text(DriverJobOptions(account="mine"), SlurmOptions(account="own"), profile)


@pytest.mark.parametrize(("limit", "warn_s"), [(None, 120), (1, 30), ("4:00", 60), ("1-0", 120), ("UNLIMITED", 120)])
def test_short_jobs_are_warned_late_enough(limit: str | int | None, warn_s: int) -> None:
    assert DriverJobOptions(time=limit).warn_s == warn_s


@pytest.mark.parametrize(
    "given",
    [
        {"time": "soon"}, {"mem": "lots"}, {"ahead": 0}, {"ahead": 51}, {"additional_parameters": {"requeue": True}},
        {"additional_parameters": {"nice": "1\n#SBATCH --exclusive"}}, {"additional_parameters": {"mem": "1G"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        DriverJobOptions(**given)


def test_options_survive_being_stored(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path)
    assert driver_jobs.read_options(paths) is None
    paths.drivers.mkdir()
    options = DriverJobOptions(time="2-0", ahead=3, additional_parameters={"nice": "5"})
    driver_jobs.store_options(paths, {"options": options.to_json()})
    stored = driver_jobs.read_options(paths)
    assert stored is not None
    assert DriverJobOptions(**stored["options"]) == options


def test_options_without_the_job_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "c.py"
    config.write_text("tuner = 1\n")
    given = ["run", str(config), "--driver-time", "60", "--driver-arg", "nice=1"]
    done = CliRunner().invoke(cli, given)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith("--driver-time, --driver-arg need a driver job. Add --sbatch")


def test_notes_of_who_submits_and_of_who_runs(tmp_path: Path) -> None:
    paths = ExperimentPaths(tmp_path)
    assert driver_jobs.read(paths) == []
    paths.drivers.mkdir()
    driver_jobs.submitted(paths, DriverJob(job_id="9", submitted_at=1.0))
    driver_jobs.submitted(paths, DriverJob(job_id="10", after="9"))
    assert [job.job_id for job in driver_jobs.read(paths)] == ["9", "10"]
    driver_jobs.note(paths, DriverJob(job_id="11", started_at=2.0))
    driver_jobs.submitted(paths, DriverJob(job_id="11", submitted_at=1.0))  # it was faster than who submitted it
    assert driver_jobs.of(paths, "11").started_at == 2.0
    driver_jobs.forget(paths, "10")
    (paths.drivers / "12.json").write_text("{garbage")
    (paths.drivers / "13.json").write_text(json.dumps({"job_id": "13", "of": "a later version"}))
    assert [job.job_id for job in driver_jobs.read(paths)] == ["9", "11", "13"]


class _Queue:
    """Driver jobs 1, which runs, and 2, which is asked about; each job submitted waits."""

    def __init__(self) -> None:
        self.waiting: list[str] = []

    def jobs(self) -> list[QueuedDriver]:
        rows = [("1", False), ("2", False), *((job, True) for job in self.waiting)]
        return [QueuedDriver(job, waits, "", None) for job, waits in rows]

    def submit(self, after: str | None) -> str:
        self.waiting.append(str(3 + len(self.waiting)))
        return self.waiting[-1]


def test_a_job_that_waits_for_the_driver_says_so_while_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, queue, noted = ExperimentPaths(tmp_path), _Queue(), []
    paths.drivers.mkdir()
    monkeypatch.setattr(driver_chain, "_queue", lambda *args: queue)
    monkeypatch.setattr(drivejob.time, "sleep", lambda s: noted.append(driver_jobs.of(paths, "2").note))
    monkeypatch.setattr(drivejob.lease, "is_free", lambda paths: bool(noted))
    spec = ExperimentSpec("abc", "n", 0.0, "train")
    assert drivejob._may_drive(paths, driver_chain.DriverJobChain(paths, spec, "2"))
    assert noted == ["waiting for the running driver to stop"]
    assert queue.waiting == ["3"]


@pytest.mark.parametrize(("state", "seen"), [("RUNNING", True), ("PENDING", True), ("COMPLETING", False)])
def test_a_driver_job_that_is_over_but_for_its_node_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, seen: bool
) -> None:
    queue = DriverQueue(ExperimentPaths(tmp_path), "abc", SlurmOptions(), WallClock())
    text = "\x1e" + "\x1f".join(["7", state, "None", "", "N/A", "hpctune-driver:abc"])
    monkeypatch.setattr(queue._commands, "ask", lambda program, arguments: text)
    assert [job.job_id for job in queue.jobs()] == ["7"] * seen


# -- when nobody is to follow -----------------------------------------------------------------------------------------

START, STOP = e.DriverStarted(1, "h", 1, "v"), e.DriverStopped("x")
LITTLE, MUCH = e.BudgetUsed(5.0), e.BudgetUsed(500.0)
NEWS = e.SearchExhausted()


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([], 0),
        ([START], 1),
        ([START, LITTLE] * 3, 3),
        ([START, NEWS] * 3, 0),
        ([START, NEWS, START, START], 2),
        ([START, START, NEWS], 0),
        ([START, START, STOP, START], 1),
        ([START, START, START, STOP], 0),
        ([START, MUCH, START], 1),
    ],
    ids=str,
)
def test_drivers_that_die_young(events: list[e.Event], count: int) -> None:
    at, recorded = 0.0, []
    for event in events:
        at += YOUNG_S + 1 if event is MUCH else 1.0
        recorded.append(e.Recorded(at, event))
    assert deaths(recorded) == count
    assert MAX_DEATHS > 2


def test_a_successor_does_not_undo_a_stop() -> None:
    state = ExperimentState(ExperimentSpec("abcde123", "n", 0.0, "f", num_samples=3))
    state.apply(e.Recorded(1.0, e.ExperimentStopRequested("stopped by hpctune stop")))
    assert list(reopenings(state, ResumeChoice(), None)), "who resumes by hand wants it to go on"
    assert list(reopenings(state, ResumeChoice(experiment="skip"), None)) == []


def test_an_exhausted_search_goes_on_if_the_space_has_grown() -> None:
    """Also while its last trials still run."""
    state = ExperimentState(ExperimentSpec("abcde123", "n", 0.0, "f", num_samples=1))
    state.apply(e.Recorded(1.0, e.SearchExhausted("the searcher has no more suggestions")))
    assert list(reopenings(state, ResumeChoice(), None, 0)) == []
    assert list(reopenings(state, ResumeChoice(), None, 1)) == [e.ExperimentReopened(1)]
    assert list(reopenings(state, ResumeChoice(experiment="skip"), None, 1)) == []
