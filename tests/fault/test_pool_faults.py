"""Workers that stay, on this machine, while they, their trials and their drivers are killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctune.model import events as e
from hpctune.model.pool import Claimed, Ended, Left, WorkerRecord
from hpctune.storage import journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.worker_files import WorkerTail
from tests.support.driver_support import Search


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    made = Search(tmp_path, trials=5, more="workers=2, max_failures=1")
    yield made
    made.close()


def workers(search: Search) -> list[str]:
    return sorted(path.name for path in (search.root / "workers").iterdir())


def records(search: Search, worker: str) -> list[WorkerRecord]:
    return WorkerTail(ExperimentPaths(search.root).worker(worker).run(0)).read()


def pid_of(search: Search, worker: str) -> int:
    claim = records(search, worker)[0]
    assert isinstance(claim, Claimed)
    return claim.pid


def runs_under_way(search: Search) -> dict[str, int]:
    """Process ids of running trials, by the job that they are."""
    found = {}
    for path in search.root.glob("*/run-*.jsonl"):
        lines = path.read_text().splitlines()
        claim = json.loads(lines[0])
        if "exit" not in json.loads(lines[-1]) and Path("/proc", str(claim["pid"])).exists():
            found[claim["job_id"]] = claim["pid"]
    return found


def attempts(search: Search) -> list[int]:
    return sorted(trial.attempts for trial in read_experiment(search.root).state.trials.values())


def started(search: Search) -> list[str]:
    """The job of every run that ever began. (A claim without a job is the driver's own: a revocation.)"""
    events = [recorded.event for recorded in journal.read(search.root / "journal")]
    return [event.job_id for event in events if isinstance(event, e.RunStarted) and event.job_id]


def in_the_middle(search: Search) -> None:
    """Start, and stop the clock when two trials have reported something."""
    search.start()
    search.wait(lambda: search.results_so_far() >= 2, "two results")
    (search.side / "hold").touch()
    search.wait(lambda: len(runs_under_way(search)) == 2, "two trials under way")


def go_on(search: Search) -> None:
    (search.side / "hold").unlink()


def test_a_killed_driver_is_succeeded_and_its_workers_and_their_trials_never_notice(search: Search) -> None:
    in_the_middle(search)
    before = runs_under_way(search)
    search.drivers[0].kill()
    search.drivers[0].wait()
    go_on(search)
    search.finish()
    assert workers(search) == ["w0001", "w0002"]
    assert attempts(search) == [1] * 5
    assert set(before) <= set(started(search))
    assert len(started(search)) == 5


def test_a_driver_killed_again_and_again(search: Search) -> None:
    """Each kill may have it doubt a submission, which costs an attempt, but no run."""
    for moment in range(6):
        before = search.journal_bytes() if search.root.exists() else 0
        driver = search.start()
        target = before + 400 * moment
        search.wait(lambda t=target, d=driver: search.journal_bytes() > t or d.poll() is not None, "news")
        driver.kill()
        driver.communicate()
    search.finish()
    assert len(started(search)) == 5, "a trial was run twice"


def test_the_trial_of_a_killed_worker_goes_on_elsewhere_from_its_checkpoint(search: Search) -> None:
    in_the_middle(search)
    lost, kept = sorted(runs_under_way(search))
    os.kill(pid_of(search, lost.partition(".")[0]), signal.SIGKILL)
    search.wait(lambda: lost not in runs_under_way(search), "a worker's trial dies with it")
    go_on(search)
    assert search.drivers[0].wait(timeout=90) == 0
    search.check()
    assert attempts(search) == [1, 1, 1, 1, 2]
    assert workers(search) == ["w0001", "w0002", "w0003"]
    assert started(search).count(kept) == 1


def test_a_killed_trial_is_a_failure_of_its_own(search: Search) -> None:
    in_the_middle(search)
    (killed, pid), _ = sorted(runs_under_way(search).items())
    os.kill(pid, signal.SIGKILL)
    go_on(search)
    assert search.drivers[0].wait(timeout=90) == 0
    search.check()
    assert attempts(search) == [1, 1, 1, 1, 2]
    assert workers(search) == ["w0001", "w0002"]
    name, _, number = killed.partition(".")
    ends = [r for r in records(search, name) if isinstance(r, Ended)]
    assert [r.code for r in ends if r.number == int(number)] == [-signal.SIGKILL]
    assert len(ends) > 1, "the worker took no other trial"


def test_at_the_end_of_its_time_a_worker_leaves_and_its_trial_goes_on_in_the_next(search: Search) -> None:
    in_the_middle(search)
    (told, _), _ = sorted(runs_under_way(search).items())
    worker = told.partition(".")[0]
    os.kill(pid_of(search, worker), signal.SIGUSR2)  # what Slurm sends
    go_on(search)
    assert search.drivers[0].wait(timeout=90) == 0
    search.check()
    assert attempts(search) == [1, 1, 1, 1, 2]
    assert records(search, worker)[-1] == Left("SIGUSR2 received", records(search, worker)[-1].at)
    counted = [r.event for r in journal.read(search.root / "journal") if isinstance(r.event, e.ResultReported)]
    assert all(event.verdict is e.Verdict.COUNTED for event in counted), "an iteration was done twice"


CRASH = """
import os, signal, sys
import hpctune as tune

def train(config):
    if config["x"] == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    tune.report(x=config["x"], pid=os.getpid())

tune.run(train, name="exp", config={"x": tune.grid_search([1, 2, 3, 4])}, verbose=0, raise_on_failed_trial=False,
         cluster=tune.LocalOptions(cpus=2, workers=1))
"""


def test_a_trial_that_crashes_takes_nothing_with_it(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.script.write_text(CRASH)
    driver = search.start()
    assert driver.wait(timeout=90) == 0
    state = read_experiment(search.root).state
    assert [trial.phase.value for trial in state.trials.values()] == ["TERMINATED", "ERROR", "TERMINATED", "TERMINATED"]
    failed = [*state.trials.values()][1]
    assert "SIGSEGV" in str(failed.error)
    assert workers(search) == ["w0001"]
    search.close()


def test_pooled_trials_leave_few_files(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=2, more="workers=1")
    search.finish()
    for trial in read_experiment(search.root).state.trials.values():
        names = sorted(p.name.split(".")[0] for p in (search.root / trial.dirname).iterdir() if p.is_file())
        assert names == ["events", "params", "params", "progress", "result"]
    search.close()
