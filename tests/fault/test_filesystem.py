"""A shared filesystem that misbehaves, with real processes on real mounts: full, stale, slow to show, without locks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.driver.engine import STORAGE_RETRY_S
from hpctune.errors import StorageError
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Outcome
from hpctune.storage import inbox, journal
from hpctune.storage.inbox import Inbox
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.run_file import RunFile, RunTail
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from tests.support.filesystem_support import TwoClients, small_disk, two_clients
from tests.support.worker_support import Bench


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk("1m") as place:
        yield place


@pytest.fixture
def bench(disk: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(trainable: Any, **control: Any) -> Bench:
        made.append(Bench(disk / "experiment", trainable, {"disk": str(disk)}, **control))
        return made[-1]

    yield make
    for b in made:
        b.close()


# -- full ------------------------------------------------------------------------------------------------------------


def reports_on_a_full_disk(config: dict[str, Any]) -> None:
    """Fills the disk itself, and makes room again when it is told that the trial waits."""
    import sys
    from pathlib import Path

    import hpctune
    from tests.support.filesystem_support import fill

    class Watching:
        def write(self, text: str) -> int:
            if "waiting, nothing is lost" in text:
                (Path(config["disk"]) / "filler").unlink()
            return sys.__stderr__.write(text)

        def flush(self) -> None:
            sys.__stderr__.flush()

    for n in range(5):
        if n == 2:
            fill(Path(config["disk"]))
            sys.stderr = Watching()
        hpctune.report(n=n, text="x" * 20_000)


def test_a_trial_waits_until_there_is_room_again(bench: Callable[..., Bench]) -> None:
    b = bench(reports_on_a_full_disk)
    code, output = b.run()
    assert (code, b.exit().outcome) == (0, Outcome.COMPLETED), output
    assert [(row.seq, row.row["n"]) for row in b.rows()] == [(n + 1, n) for n in range(5)]
    assert output.count("No space left on device. ") <= 1
    assert "waiting, nothing is lost" in output
    assert "the storage works again" in output


def test_a_disk_that_stays_full_interrupts_the_trial_and_its_last_word_is_written(
    bench: Callable[..., Bench], disk: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        from pathlib import Path

        import hpctune
        from tests.support.filesystem_support import fill

        hpctune.report(n=0)
        fill(Path(config["disk"]))
        hpctune.report(n=1, text="x" * 20_000)

    b = bench(train)
    code, output = b.run(HPCTUNE_STORAGE_PATIENCE_S="0.5")
    end = b.exit()
    assert (code, end.outcome, end.error) == (0, Outcome.INTERRUPTED, None), output
    assert "No space left on device" in end.reason
    assert [row.row["n"] for row in b.rows()] == [0]


@pytest.mark.parametrize("freed", [True, False], ids=["room again", "none"])
@pytest.mark.parametrize("error", ["", "RuntimeError"], ids=["OSError", "a library's error"])
def test_what_users_code_raises_on_a_full_disk_is_no_failure(
    bench: Callable[..., Bench], error: str, freed: bool
) -> None:
    def train(config: dict[str, Any]) -> None:
        import threading
        from pathlib import Path

        import hpctune
        from tests.support.filesystem_support import fill

        disk = Path(config["disk"])
        hpctune.report(n=0)
        fill(disk)
        if freed:
            threading.Timer(0.4, (disk / "filler").unlink).start()
        try:
            (disk / "model.pt").write_bytes(b"x" * 100_000)
        except OSError as refused:
            if error:
                raise RuntimeError("writer failed") from None
            raise refused

    b = bench(train)
    began = time.monotonic()
    code, output = b.run(HPCTUNE_STORAGE_PATIENCE_S="60" if freed else "0.5")
    end = b.exit()
    assert (code, end.outcome, end.error) == (0, Outcome.INTERRUPTED, None), output
    assert end.reason.startswith(f"{error or 'OSError'} while the storage had no room (")
    assert "waiting for room, nothing is lost: 0 MB free" in output
    assert "Traceback" in output
    assert time.monotonic() - began < 50
    assert [row.row["n"] for row in b.rows()] == [0]


def test_a_class_saves_its_checkpoint_when_there_is_room_again(bench: Callable[..., Bench]) -> None:
    class Saves(hpctune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.disk, self.tries = config["disk"], 0

        def step(self) -> dict[str, Any]:
            from pathlib import Path

            from tests.support.filesystem_support import fill

            if self.training_iteration == 1:
                fill(Path(self.disk))
            return {"n": self.training_iteration, "tries": self.tries}

        def save_checkpoint(self, directory: str) -> None:
            from pathlib import Path

            self.tries += 1
            if self.tries == 4:
                (Path(self.disk) / "filler").unlink()
            Path(directory, "model").write_bytes(b"x" * 100_000)

        def load_checkpoint(self, directory: str) -> None:
            pass

    b = bench(Saves, checkpoint_frequency=1, criteria={"training_iteration": 3})
    code, output = b.run()
    assert (code, b.exit().outcome) == (0, Outcome.COMPLETED), output
    assert [bool(row.checkpoint) for row in b.rows()] == [True] * 3
    assert "waiting, nothing is lost" in output
    sizes = {p.parent.name: p.stat().st_size for p in b.trial.root.glob("checkpoint_*/model")}
    assert list(sizes.values()) == [100_000] * 3


# -- the driver --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS])
def test_the_driver_holds_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    curve = Curve(metrics=hyperbola, iterations=4, checkpoint_every=1)
    simulation = Simulation(tmp_path / "exp", num_samples=3, slots=2, curve=curve)
    driver = simulation.driver()
    driver.start()
    while driver.state.finished < 1:
        simulation.clock.sleep(driver.step())
    real, refused = journal._write_at, []

    def refuse(fd: int, data: bytes | bytearray, offset: int) -> None:
        if len(refused) < 20:
            refused.append(number)
            raise OSError(number, os.strerror(number))
        real(fd, data, offset)

    monkeypatch.setattr(journal, "_write_at", refuse)
    submitted, notes, pauses = simulation.cluster.submissions, set(), set()
    while len(refused) < 20:
        pauses.add(driver.step())
        notes.add(driver.note)
        assert simulation.cluster.submissions == submitted, "nothing is done that cannot be recorded"
        simulation.clock.sleep(STORAGE_RETRY_S)
    assert any(os.strerror(number) in note for note in notes)
    assert STORAGE_RETRY_S in pauses
    while not driver.finished:
        simulation.clock.sleep(driver.step())
    driver.leave("finished")
    view = read_experiment(tmp_path / "exp", with_rows=True)
    for trial in view.state.trials.values():
        assert [r.row["training_iteration"] for r in view.rows if r.trial_id == trial.trial_id] == [1, 2, 3, 4]
        assert (trial.attempts, trial.finalized) == (1, True)


def test_a_stale_journal_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover of the file server: the old descriptor refuses for ever, with what it had not written yet."""
    from hpctune.model import events as e

    log = journal.Journal(tmp_path / "journal")
    facts = [e.Recorded(float(n), e.BudgetUsed(float(n))) for n in range(4)]
    log.append([facts[:1]])
    log.sync()
    log.append([facts[1:2]])
    stale, real = log._fd, journal._write_at

    def write(fd: int, data: bytes | bytearray, offset: int) -> None:
        if fd == stale:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        real(fd, data, offset)

    keep = os.dup(stale)  # so that the number is not given to the new descriptor
    monkeypatch.setattr(journal, "_write_at", write)
    monkeypatch.setattr(os, "close", lambda fd, close=os.close: None if fd == stale else close(fd))
    with pytest.raises(StorageError, match="tale"):
        log.append([facts[2:3]])
    log.append([facts[2:3]])
    log.sync()
    log.append([facts[3:4]])
    log.close()
    os.close(keep)
    assert list(journal.read(tmp_path / "journal")) == facts


# -- two nodes with caches ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clients() -> Iterator[TwoClients]:
    with two_clients(cache_s=3) as both:
        yield both


def test_a_claim_is_exclusive_across_nodes_that_do_not_see_each_other_yet(clients: TwoClients) -> None:
    for n in range(20):
        name = f"run-{n}.0.jsonl"
        paths = [clients.one / name, clients.other / name]
        assert not any(path.exists() for path in paths), "now both have it in their caches that there is no such file"
        claims = [Claim(RunKey("t", n, 0), str(i), "host", 1, 0.0) for i in range(2)]
        held = [RunFile.claim(path, claim) for path, claim in zip(paths, claims, strict=True)]
        assert [file is not None for file in held] == [True, False]
        file = held[0]
        assert file is not None
        file.close()


def test_what_another_node_appends_is_read_whole_and_in_order_when_it_shows(clients: TwoClients) -> None:
    key = RunKey("t", 100, 0)
    there, here = clients.one / "run-100.0.jsonl", clients.other / "run-100.0.jsonl"
    tail = RunTail(here, key)
    assert tail.read() == []
    file = RunFile.claim(there, Claim(key, "1", "host", 1, 0.0))
    assert file is not None
    seen: list[Any] = []
    for n in range(40):
        file.result({"n": n})
        seen += tail.read()
    file.exit(Outcome.COMPLETED, "done", 0.0)
    Bench.wait_for(lambda: bool(seen.extend(tail.read()) or len(seen) == 42))
    assert [record.row["n"] for record in seen[1:-1]] == list(range(40))


def test_locks_that_do_not_reach_across_nodes_let_nobody_drive_twice(clients: TwoClients) -> None:
    """flock on these mounts is each node's own affair, as with Lustre's localflock; the lease decides."""
    from hpctune.errors import DriverAliveError
    from hpctune.storage import lease

    held = clients.one / "locked"
    held.touch()
    with held.open() as first, (clients.other / "locked").open() as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no error: it reaches nobody
    ours, theirs = ExperimentPaths(clients.one / "leased"), ExperimentPaths(clients.other / "leased")
    ours.root.mkdir()
    first_lease = lease.Lease(ours, 0.0)
    at = [0.0]

    class Elsewhere(lease.Watch):
        pass

    def sleep(seconds: float) -> None:
        at[0] += seconds
        first_lease.heartbeat(at[0])

    record = json.loads(ours.lease.read_text()) | {"host": "another"}
    ours.lease.write_text(json.dumps(record))
    first_lease.holder = lease.Holder(**record)
    with pytest.raises(DriverAliveError):
        lease.Lease(theirs, 0.0, Elsewhere(monotonic=lambda: at[0], sleep=sleep, tell=lambda text: None))
    first_lease.release()


# -- locks, and other people's clocks and hands ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_command_is_posted_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(inbox, "LOCK_S", 0.5)
    paths = ExperimentPaths(tmp_path)
    posted = [inbox.post(paths, "stop", ["a"]), inbox.post(paths, "stop")]
    assert Inbox(paths).read() == posted


@pytest.mark.parametrize("skew_s", [-600.0, 600.0])
def test_a_node_whose_clock_is_minutes_off(tmp_path: Path, skew_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows carry the node's own times; nothing is decided by them, and no order is taken from them."""
    curve = Curve(metrics=hyperbola, iterations=4, checkpoint_every=1)
    simulation = Simulation(tmp_path / "exp", num_samples=3, slots=2, curve=curve)

    class Skewed:
        """The clock of the nodes and of the cluster's controller."""

        def now(self) -> float:
            return simulation.clock.now() + skew_s

        def __getattr__(self, name: str) -> Any:
            return getattr(simulation.clock, name)

    monkeypatch.setattr(simulation.cluster, "clock", Skewed())
    simulation.run()
    view = read_experiment(tmp_path / "exp", with_rows=True)
    times = [recorded.at for recorded in journal.read(tmp_path / "exp" / "journal")]
    assert times == sorted(times), "the journal has the driver's own time"
    assert {(t.attempts, t.failures, t.results) for t in view.state.trials.values()} == {(1, 0, 4)}
