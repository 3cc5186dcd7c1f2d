"""Drivers that are killed, told to leave, doubled, or robbed of directories and disk space."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctune.cli import snapshot
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.storage import free_space, journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from tests.support.driver_support import Make
from tests.support.filesystem_support import fill, small_disk

pytestmark = pytest.mark.timeout(200)


@pytest.mark.nightly
def test_killed_again_and_again(make: Make) -> None:
    """kill -9 after a random time, or when the journal has grown by a random amount; twelve times, then to the end."""
    search, rng = make(trials=6, pause_s=0.1), random.Random(20240)
    for number in range(12):
        driver = search.start()
        began, delay_s = time.monotonic(), rng.uniform(0.3, 1.5)
        target = search.journal_bytes() + rng.randrange(200, 4000)
        by_time = number % 2 == 0
        while driver.poll() is None:
            if time.monotonic() - began > (delay_s if by_time else 10.0) or (
                not by_time and search.journal_bytes() > target
            ):
                driver.kill()
                break
            time.sleep(0.005)
        _, errors = driver.communicate(timeout=30)
        assert driver.returncode in (0, -signal.SIGKILL), errors
    search.finish()
    epochs = [r.event.epoch for r in journal.read(search.root / "journal") if isinstance(r.event, e.DriverStarted)]
    assert epochs == sorted(set(epochs))
    assert len(epochs) > 5


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_its_effects(make: Make, seed: int) -> None:
    """A real driver with real jobs, killed between two effects, or in the middle of a write; fifteen times."""
    search, rng, deaths = make(trials=6, pause_s=0.1), random.Random(seed), 0
    for _ in range(15):
        driver = search.start(kill_at=rng.randrange(1, 120))
        _, errors = driver.communicate(timeout=60)
        assert driver.returncode in (0, -signal.SIGKILL), errors
        deaths += driver.returncode == -signal.SIGKILL
    assert deaths >= 8
    search.finish()


def test_two_drivers_started_at_once(make: Make) -> None:
    """Of six, one drives; the others are refused, and do not touch anything."""
    search = make(trials=3)
    drivers = [search.start() for _ in range(6)]
    ends = [driver.communicate(timeout=120) for driver in drivers]
    drove = [out for out, _ in ends if out == "finished\n"]
    assert drove
    refused = [errors for out, errors in ends if not out]
    assert len(drove) + len(refused) == 6
    told = ("is being driven already", "holds an experiment already", "has just taken over", "has no experiment.json")
    assert all(any(words in errors for words in told) for errors in refused), refused
    search.finish()


def test_a_login_node_that_closes_the_session(make: Make) -> None:
    """The terminal goes, its processes get SIGHUP, then SIGKILL; jobs of this machine are sessions of their own."""
    search = make(trials=3, pause_s=0.2)
    driver = subprocess.Popen(
        ["script", "-qec", f"{shlex.quote(sys.executable)} {shlex.quote(str(search.script))}", "/dev/null"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "TUNE_RESULT_DIR": str(search.results)},
    )  # fmt: skip
    search.wait(lambda: search.results_so_far() >= 2, "results")
    os.killpg(driver.pid, signal.SIGHUP)
    driver.wait(timeout=60)
    search.wait(lambda: not snapshot.driver_of(ExperimentPaths(search.root), time.time()).alive, "the driver has gone")
    search.finish()
    assert {t.attempts for t in read_experiment(search.root).state.trials.values()} == {1}, "jobs were adopted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_told_to_leave(make: Make, number: signal.Signals) -> None:
    search = make()
    (search.side / "hold").touch()
    driver = search.start()
    search.wait(lambda: search.root.exists() and len(list(search.side.iterdir())) >= 3, "two trials run")
    driver.send_signal(number)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 0, errors
    assert "Stopping the driver: jobs go on" in errors
    *_, last = journal.read(search.root / "journal")
    assert last.event == e.DriverStopped(f"told to leave ({number.name})")
    (search.side / "hold").unlink()
    search.finish()
    assert {t.attempts for t in read_experiment(search.root).state.trials.values()} == {1}, "jobs were adopted"


def test_told_twice_leaves_at_once(make: Make) -> None:
    search = make()
    (search.side / "block").touch()
    driver = search.start()
    search.wait((search.side / "blocked").exists, "the driver is busy")
    driver.send_signal(signal.SIGINT)
    assert driver.stderr is not None
    while "Stopping the driver" not in driver.stderr.readline():
        assert driver.poll() is None
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=30)
    assert driver.returncode == 128 + signal.SIGINT
    (search.side / "block").unlink()
    search.finish()


def test_a_second_driver_is_refused_and_the_first_unharmed(make: Make) -> None:
    search = make()
    (search.side / "hold").touch()
    first = search.start()
    search.wait(lambda: search.root.exists() and len(list(search.side.iterdir())) >= 2, "a trial runs")
    before = sorted(p.name for p in (search.root / "journal").iterdir())
    second = search.start()
    _, errors = second.communicate(timeout=60)
    assert second.returncode != 0
    assert f"is being driven already: process {first.pid} on {socket.gethostname()}, since 20" in errors
    assert sorted(p.name for p in (search.root / "journal").iterdir()) == before
    (search.side / "hold").unlink()
    output, errors = first.communicate(timeout=90)
    assert output == "finished\n", errors
    search.check()


def test_a_trial_directory_that_somebody_deletes_costs_that_trial_only(make: Make) -> None:
    search = make(more="raise_on_failed_trial=False")
    (search.side / "hold").touch()
    driver = search.start()
    search.wait(lambda: search.root.exists() and len(list(search.side.iterdir())) >= 2, "a trial runs")
    view = search.view()
    assert view is not None
    victim = view.state.trials[next(p.name for p in search.side.iterdir() if p.name != "hold")]
    shutil.rmtree(search.root / victim.dirname)
    (search.side / "hold").unlink()
    output, errors = driver.communicate(timeout=90)
    assert output == "finished\n", errors
    state = read_experiment(search.root).state
    others = [t for t in state.trials.values() if t.trial_id != victim.trial_id]
    assert {(t.phase, t.results) for t in others} == {(Phase.TERMINATED, 6)}
    assert state.trials[victim.trial_id].finalized


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("3m") as place:
        yield place


def test_a_disk_that_fills_up_and_is_emptied_again(make: Make, disk: Path) -> None:
    search = make(results=disk, pause_s=0.3, trials=4, more="max_failures=-1")
    driver = search.start()
    search.wait(lambda: search.results_so_far() >= 2, "two results")
    filler = fill(disk)
    grown = search.journal_bytes()
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline:  # for a while the driver must live, whatever it may write
        assert driver.poll() is None, driver.communicate()[1]
        time.sleep(0.05)
    assert search.journal_bytes() <= grown + 4096
    assert free_space.storage_problem(search.root) == "0 MB free"
    filler.unlink()
    output, errors = driver.communicate(timeout=120)
    assert output == "finished\n", errors
    search.check()
