"""Who may drive: one driver at a time, on one host and on many."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hpctune.errors import DriverAliveError, LeaseLostError, StorageError
from hpctune.storage import atomic, lease
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import HEARTBEAT_S, SETTLE_S, TAKEOVER_S, Holder, Lease, Watch

SINCE = 1_700_000_000.0


@pytest.fixture
def paths(tmp_path: Path) -> ExperimentPaths:
    return ExperimentPaths(tmp_path)


class Time:
    """Time that passes only while somebody sleeps; ``happens`` is called after each sleep."""

    def __init__(self, happens: Callable[[], None] = lambda: None) -> None:
        self.now, self._happens = 1000.0, happens

    @property
    def watch(self) -> Watch:
        return Watch(lambda: self.now, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self._happens()


def put(paths: ExperimentPaths, holder: Holder) -> None:
    atomic.write(paths.lease, json.dumps(asdict(holder)))


ELSEWHERE = Holder("login9", 77, SINCE, 3, beat=5)


def test_a_first_driver(paths: ExperimentPaths) -> None:
    assert lease.read(paths) is None
    one = Lease(paths, SINCE)
    assert lease.read(paths) == one.holder == Holder(socket.gethostname(), os.getpid(), SINCE, 1)
    one.release()
    last = lease.read(paths)
    assert last is not None
    assert last.released


@pytest.fixture
def other_driver(paths: ExperimentPaths) -> Iterator[subprocess.Popen[str]]:
    code = (
        "import sys; from pathlib import Path; from hpctune.storage.lease import Lease\n"
        "from hpctune.storage.layout import ExperimentPaths\n"
        f"held = Lease(ExperimentPaths(Path(sys.argv[1])), {SINCE}); print('held', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(paths.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def test_a_second_driver_on_this_host_is_told_who_where_and_since_when(
    paths: ExperimentPaths, other_driver: subprocess.Popen[str]
) -> None:
    with pytest.raises(DriverAliveError) as caught:
        Lease(paths, SINCE + 9)
    text = str(caught.value)
    assert f"process {other_driver.pid} on {socket.gethostname()}, since 20" in text
    assert f"hpctune stop {paths.root}" in text
    holder = lease.read(paths)
    assert holder is not None
    assert (holder.pid, holder.epoch) == (other_driver.pid, 1), "the first is unharmed"


def test_the_lease_of_a_dead_process_is_taken_at_once(
    paths: ExperimentPaths, other_driver: subprocess.Popen[str]
) -> None:
    other_driver.kill()
    other_driver.wait()
    one = Lease(paths, SINCE + 9, Time().watch)
    assert one.holder.epoch == 2
    one.release()


def test_a_second_driver_in_this_process(paths: ExperimentPaths) -> None:
    one = Lease(paths, SINCE)
    with pytest.raises(DriverAliveError, match=f"process {os.getpid()}"):
        Lease(paths, SINCE)
    one.release()
    Lease(paths, SINCE).release()


def test_a_driver_may_leave_in_another_thread(paths: ExperimentPaths) -> None:
    one = Lease(paths, SINCE)
    thread = threading.Thread(target=one.release)
    thread.start()
    thread.join()
    Lease(paths, SINCE).release()


# -- other hosts, where the lock does not reach -----------------------------------------------------------------------


def test_another_host_that_beats_is_left_alone(paths: ExperimentPaths) -> None:
    put(paths, ELSEWHERE)
    time = Time(lambda: put(paths, replace(ELSEWHERE, beat=6)) if time.now > 1004 else None)
    with pytest.raises(DriverAliveError, match="process 77 on login9, since 20"):
        Lease(paths, SINCE, time.watch)
    assert time.now - 1000 <= HEARTBEAT_S + 1
    holder = lease.read(paths)
    assert holder == replace(ELSEWHERE, beat=6)
    put(paths, replace(ELSEWHERE, released=True))
    Lease(paths, SINCE, time.watch).release()  # and the lock is free


def test_another_host_that_is_silent_is_taken_over_after_a_while(paths: ExperimentPaths) -> None:
    put(paths, ELSEWHERE)
    time = Time()
    one = Lease(paths, SINCE, time.watch)
    assert time.now - 1000 == pytest.approx(TAKEOVER_S)
    assert one.holder.epoch == ELSEWHERE.epoch + 1
    one.release()


@pytest.mark.parametrize("before", [True, False])
def test_a_released_lease_is_taken_at_once(paths: ExperimentPaths, before: bool) -> None:
    released = replace(ELSEWHERE, beat=6, released=True)
    put(paths, released if before else ELSEWHERE)
    time = Time(lambda: put(paths, released))
    one = Lease(paths, SINCE, time.watch)
    assert time.now - 1000 <= HEARTBEAT_S
    assert one.holder.epoch == ELSEWHERE.epoch + 1
    one.release()


# -- where there are no locks at all ----------------------------------------------------------------------------------


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_the_lease_alone_decides(
    paths: ExperimentPaths, other_driver: subprocess.Popen[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DriverAliveError, match=f"process {other_driver.pid}"):
        Lease(paths, SINCE, Time().watch)
    assert "on a filesystem without locks" in capfd.readouterr().err
    other_driver.kill()
    other_driver.wait()
    one = Lease(paths, SINCE, Time().watch)
    assert one.holder.epoch == 2
    with pytest.raises(DriverAliveError):
        Lease(paths, SINCE, Time().watch)
    one.release()
    put(paths, ELSEWHERE)
    time = Time()
    Lease(paths, SINCE, time.watch).release()
    assert time.now - 1000 >= TAKEOVER_S


@pytest.mark.usefixtures("no_locks")
def test_of_two_that_take_it_at_once_the_last_has_it(paths: ExperimentPaths) -> None:
    time = Time(lambda: put(paths, replace(ELSEWHERE, epoch=1)))
    with pytest.raises(DriverAliveError, match="process 77 on login9"):
        Lease(paths, SINCE, time.watch)
    assert time.now - 1000 == SETTLE_S


# -- while driving ----------------------------------------------------------------------------------------------------


def test_the_beat(paths: ExperimentPaths) -> None:
    one = Lease(paths, SINCE)
    one.heartbeat(SINCE + HEARTBEAT_S - 0.1)
    assert lease.read(paths) == replace(one.holder, beat=0)
    one.heartbeat(SINCE + HEARTBEAT_S)
    holder = lease.read(paths)
    assert holder is not None
    assert holder.beat == 1
    paths.lease.unlink()
    one.heartbeat(SINCE + 3 * HEARTBEAT_S)
    assert lease.read(paths) == one.holder, "it comes back"
    one.release()


@pytest.mark.parametrize("changes", [{"epoch": 2}, {"host": "login9"}, {"pid": 1}, {"since": SINCE + 1}], ids=str)
def test_who_was_taken_over_leaves_and_does_not_touch_the_lease_of_the_other(
    paths: ExperimentPaths, changes: dict[str, object]
) -> None:
    one = Lease(paths, SINCE)
    other = replace(one.holder, **changes)  # type: ignore[arg-type]
    put(paths, other)
    with pytest.raises(LeaseLostError, match="Another driver took over: process"):
        one.heartbeat(SINCE + HEARTBEAT_S)
    one.release()
    assert lease.read(paths) == other


def test_a_full_disk_is_a_storage_error_and_does_not_stop_a_release(
    paths: ExperimentPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Lease(paths, SINCE)

    def refuse(*args: object, **options: object) -> None:
        raise StorageError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write", refuse)
        with pytest.raises(StorageError):
            one.heartbeat(SINCE + HEARTBEAT_S)
        one.release()
        with pytest.raises(StorageError):
            Lease(paths, SINCE)
    Lease(paths, SINCE).release()


def test_a_lease_after_a_power_failure_or_of_another_version(paths: ExperimentPaths) -> None:
    for text in ("", "\0\0\0\0", "\n"):
        paths.lease.write_text(text)
        assert lease.read(paths) is None
        Lease(paths, SINCE).release()
    paths.lease.write_text(json.dumps({**asdict(ELSEWHERE), "mood": "good"}))
    assert lease.read(paths) == ELSEWHERE
    for text in ("garbage", "[]", '{"host": 1}'):
        paths.lease.write_text(text)
        with pytest.raises(StorageError, match=r"Cannot read .*lease\.json"):
            lease.read(paths)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot lock"):
        Lease(ExperimentPaths(tmp_path / "file" / "below"), SINCE) if (tmp_path / "file").write_text("") == 0 else None


def test_a_driver_that_is_held_up_still_beats(paths: ExperimentPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.02)
    one = Lease(paths, SINCE)
    one.keep()
    assert lease.changes(paths, one.holder, within_s=20.0)
    put(paths, replace(one.holder, epoch=2))  # somebody thought that it was dead
    other = lease.read(paths)
    with pytest.raises(LeaseLostError):
        one.heartbeat(SINCE + HEARTBEAT_S)
    one.release()
    assert lease.read(paths) == other


def test_a_clock_that_is_set_back_does_not_stop_the_beat(paths: ExperimentPaths) -> None:
    one = Lease(paths, SINCE)
    one.heartbeat(SINCE - 3600)
    assert one.holder.beat == 1
    one.release()


@pytest.mark.parametrize("changes_after_s", [None, 30.0])
def test_is_it_worth_trying(paths: ExperimentPaths, changes_after_s: float | None) -> None:
    assert lease.is_free(paths)
    put(paths, replace(ELSEWHERE, released=True))
    assert lease.is_free(paths)
    put(paths, ELSEWHERE)
    time = Time(
        lambda: (
            put(paths, replace(ELSEWHERE, beat=6))
            if changes_after_s is not None and time.now - 1000 > changes_after_s
            else None
        )
    )
    assert lease.is_free(paths, time.watch) is (changes_after_s is None)
    assert time.now - 1000 == pytest.approx(changes_after_s or TAKEOVER_S, abs=1)
    put(paths, Holder(socket.gethostname(), os.getpid(), SINCE, 4))
    assert not lease.is_free(paths)


def test_a_dead_process_that_nobody_has_reaped_does_not_drive() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    holder = Holder(socket.gethostname(), process.pid, SINCE, 1)
    assert lease.alive(holder, now=0, mtime=0) is False
    process.wait()


def test_is_it_alive(paths: ExperimentPaths) -> None:
    here = Holder(socket.gethostname(), os.getpid(), SINCE, 1)
    assert lease.alive(None, now=0, mtime=0) is False
    assert lease.alive(here, now=0, mtime=0) is True
    assert lease.alive(replace(here, released=True), now=0, mtime=0) is False
    process = subprocess.Popen(["true"])
    process.wait()
    assert lease.alive(replace(here, pid=process.pid), now=0, mtime=0) is False
    assert lease.alive(replace(here, pid=1), now=0, mtime=0) is True
    assert lease.alive(ELSEWHERE, now=100, mtime=99) is True
    assert lease.alive(ELSEWHERE, now=100, mtime=10) is None
    assert lease.alive(ELSEWHERE, now=100, mtime=300) is None, "as if from the future: the clocks differ"
