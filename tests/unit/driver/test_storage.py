"""The driver on a disk that refuses: once at any place, or for a while. It waits, goes on, and loses nothing."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.driver.engine import STORAGE_RETRY_S, Driver
from hpctune.errors import JournalError, LeaseLostError, StorageError
from hpctune.model import events as e
from hpctune.model.spec import CheckpointPolicy
from hpctune.storage import atomic, journal, lease
from hpctune.storage.lease import HEARTBEAT_S
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola

PLACES = ("write", "append", "fsync", "unlink", "rename")


@pytest.fixture
def root() -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="hpctune-disk-", dir=memory) as directory:
        yield Path(directory) / "exp"


class Disk:
    """Refuses what the driver (not the jobs) asks of it: the calls that ``refuses`` says, by place and number."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refuses: Callable[[str, int], bool] = lambda place, number: False
        self.calls = self.refused = 0
        self.driving = False
        real_write, real_append = atomic.write, journal._write_at
        patch.setattr(atomic, "write", self._guard("write", real_write, StorageError("Cannot write: No space left")))
        patch.setattr(journal, "_write_at", self._guard("append", real_append))
        patch.setattr(os, "fsync", self._guard("fsync", os.fsync))
        patch.setattr(os, "unlink", self._guard("unlink", os.unlink))
        patch.setattr(Path, "rename", self._guard("rename", Path.rename))

    def _guard(self, place: str, real: Callable[..., Any], error: Exception | None = None) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            if self.driving:
                self.calls += 1
                if self.refuses(place, self.calls):
                    self.refused += 1
                    raise error or OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **options)

        return guarded

    def step(self, driver: Driver) -> float:
        """One step, during which the disk may refuse."""
        self.driving = True
        try:
            return driver.step()
        finally:
            self.driving = False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def search(root: Path, trials: int = 3) -> Simulation:
    curve = Curve(metrics=hyperbola, iterations=4, checkpoint_every=1)
    return Simulation(root, num_samples=trials, slots=2, curve=curve, checkpoint=CheckpointPolicy(keep=1))


def drive(simulation: Simulation, driver: Driver, disk: Disk) -> None:
    for _ in range(2000):
        pause = disk.step(driver)
        if driver.finished:
            driver.leave("finished")
            return
        simulation.clock.sleep(pause)
    raise AssertionError(f"it never ends: {driver.failure}")


def everything_is_there(simulation: Simulation, trials: int = 3) -> None:
    view = read_experiment(simulation.paths.root, with_rows=True)
    assert len(view.state.trials) == trials
    for trial in view.state.trials.values():
        counted = [r.row["training_iteration"] for r in view.rows if r.trial_id == trial.trial_id]
        assert counted == [1, 2, 3, 4]
        assert (trial.attempts, trial.finalized) == (1, True)
        on_disk = [p.name for p in (simulation.paths.root / trial.dirname).glob("checkpoint_*")]
        assert on_disk == [c.name for c in trial.checkpoints] == ["checkpoint_000004"]


def test_every_single_call_may_fail_once(root: Path, disk: Disk) -> None:
    simulation = search(root)
    driver = simulation.driver()
    driver.start()
    drive(simulation, driver, disk)
    calls = disk.calls
    assert calls > 30
    for number in range(1, calls + 1):
        shutil.rmtree(root)
        simulation = search(root)
        driver = simulation.driver()
        driver.start()
        disk.calls = disk.refused = 0
        disk.refuses = lambda place, n, number=number: n == number  # type: ignore[misc]
        drive(simulation, driver, disk)
        assert disk.refused == 1, number
        everything_is_there(simulation)


def test_a_disk_that_is_full_for_an_hour(root: Path, disk: Disk) -> None:
    simulation = search(root, trials=12)
    driver = simulation.driver()
    driver.start()
    while driver.state.finished < 3:
        simulation.clock.sleep(disk.step(driver))
    disk.refuses = lambda place, number: True
    began, pauses, submitted = simulation.clock.now(), [], simulation.cluster.submissions
    while simulation.clock.now() < began + 3600:
        pauses.append(disk.step(driver))
        simulation.clock.sleep(pauses[-1])
    assert disk.refused
    assert "No space left" in driver.note
    assert simulation.cluster.submissions == submitted, "nothing is done that cannot be recorded"
    assert set(pauses[5:]) == {STORAGE_RETRY_S}
    disk.refuses = lambda place, number: False
    drive(simulation, driver, disk)
    assert driver.note == ""
    everything_is_there(simulation, trials=12)


def test_a_driver_that_leaves_while_the_disk_is_full_lets_the_next_one_go_on(root: Path, disk: Disk) -> None:
    simulation = search(root)
    driver = simulation.driver()
    driver.start()
    simulation.clock.sleep(disk.step(driver))
    disk.refuses = lambda place, number: True
    for _ in range(4):
        simulation.clock.sleep(disk.step(driver))
    disk.driving = True
    try:
        driver.leave("told to")
    except StorageError:
        pass
    finally:
        disk.driving = False
    disk.refuses = lambda place, number: False
    driver = simulation.driver()
    driver.start()
    drive(simulation, driver, disk)
    everything_is_there(simulation)


@pytest.mark.parametrize("seed", range(10))
def test_a_disk_that_refuses_now_and_then(root: Path, disk: Disk, seed: int) -> None:
    simulation, rng = search(root), random.Random(seed)
    driver = simulation.driver()
    driver.start()
    disk.refuses = lambda place, number: rng.random() < 0.3
    drive(simulation, driver, disk)
    assert disk.refused > 10
    everything_is_there(simulation)


def test_what_a_zombie_appends_after_its_successor_started_reaches_neither_state_nor_journal(root: Path) -> None:
    """The successor seals the segment before it reads it, or the two would differ."""
    simulation = search(root)
    zombie = simulation.driver()
    zombie.start()
    zombie.step()
    zombie.lease._lock.release()  # on another node, where locks do not reach
    read = journal.read

    def read_slowly(directory: Path, **options: Any) -> Iterator[e.Recorded]:
        zombie._journal.append([[e.Recorded(1.0, e.BudgetUsed(12345.0))]])
        return read(directory, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "read", read_slowly)
        successor = simulation.driver()
        successor.start()
    assert successor.state.driven_s != 12345.0
    assert read_experiment(root, peek=False).state.trials == successor.state.trials
    simulation.clock.sleep(HEARTBEAT_S)
    with pytest.raises(LeaseLostError, match="took over"):
        zombie.step()
    zombie.leave("lost")
    holder = lease.read(simulation.paths)
    assert holder == successor.lease.holder, "a zombie's farewell leaves the lease alone"
    simulation.clock.sleep(HEARTBEAT_S)
    successor.step()
    successor.leave("done")


def test_a_driver_that_cannot_start_lets_go_of_everything(root: Path) -> None:
    simulation = search(root)
    driver = simulation.driver()
    driver.start()
    driver.leave("told to")
    segment = sorted(simulation.paths.journal.iterdir())[-1]
    good = segment.read_bytes()
    segment.write_bytes(good + b'{"at":1.0,"event":"NeverHeard"}\n')
    for _ in range(2):
        with pytest.raises(JournalError, match="NeverHeard"):
            simulation.driver().start()
    for later in sorted(simulation.paths.journal.iterdir())[1:]:
        later.unlink()
    segment.write_bytes(good)
    simulation.run()
    everything_is_there(simulation)


def test_settling_waits_until_the_facts_are_durable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run files go only when what was read from them would survive a power failure."""
    simulation = search(root)
    driver = simulation.driver()
    driver.start()
    settle = driver._performer._finalize

    def watched(*args: Any) -> None:
        written = b"".join(p.read_bytes() for p in sorted(simulation.paths.journal.iterdir()))
        assert b'"event":"RunEnded"' in written
        ended = driver._journal.path.read_bytes()[: driver._journal._durable]
        assert f'"TrialEnded","trial_id":"{args[0].trial_id}"'.encode() in ended
        settle(*args)

    monkeypatch.setattr(driver._performer, "_finalize", watched)
    for _ in range(500):
        simulation.clock.sleep(driver.step() or 0.01)
        if driver.finished:
            break
    driver.leave("finished")
    everything_is_there(simulation)
