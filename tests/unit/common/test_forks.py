"""What a forked child has of the process that it was forked from: nothing of ours."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.common import forks
from hpctune.driver.clock import WallClock
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim
from hpctune.storage.doorbell import Doorbell, DoorbellClient
from hpctune.storage.journal import Journal
from hpctune.storage.lease import Lock
from hpctune.storage.run_file import RunFile

FORK = multiprocessing.get_context("fork")


def in_child(action: Callable[[], object]) -> str:
    """What ``action`` gives in a forked child, as text."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, repr(action()).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as text:
        said = text.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """SIGTERM and SIGUSR2 have a handler of ours; the signals that it got."""
    got: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGUSR2)
    with forks.handling(dict.fromkeys(numbers, lambda number, frame: got.append(number))):
        yield got


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_child_that_is_signalled_at_once_ends_by_that(handled: list[int], number: int) -> None:
    for _ in range(20):  # the signal comes while the child is still being made
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        assert child.pid is not None
        os.kill(child.pid, number)
        child.join(30)
        assert child.exitcode == -number
    assert handled == []


def test_a_signal_is_still_ours_after_a_fork(handled: list[int]) -> None:
    in_child(lambda: None)
    os.kill(os.getpid(), signal.SIGTERM)
    assert handled == [signal.SIGTERM]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_children_of_children_and_forks_from_threads(handled: list[int]) -> None:
    answers: list[str] = []
    look = lambda: (signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # noqa: E731
    thread = threading.Thread(target=lambda: answers.append(in_child(look)))
    thread.start()
    thread.join()
    answers.append(in_child(lambda: in_child(look)))
    assert answers[0] == repr((signal.SIG_DFL, set()))
    assert answers[1] == repr(answers[0])


def test_a_handler_of_the_users_stays(handled: list[int]) -> None:
    def users(number: int, frame: object) -> None:
        """Nothing."""

    before = signal.signal(signal.SIGTERM, users)
    try:
        assert in_child(lambda: signal.getsignal(signal.SIGTERM) is users) == "True"
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_was_there_before_us_is_there_again() -> None:
    def users(number: int, frame: object) -> None:
        """Nothing."""

    before = signal.signal(signal.SIGUSR2, users)
    try:
        outer = forks.set_handler(signal.SIGUSR2, lambda number, frame: None)
        with forks.handling({signal.SIGUSR2: signal.SIG_IGN}):
            assert in_child(lambda: signal.getsignal(signal.SIGUSR2) is users) == "True"
        assert in_child(lambda: signal.getsignal(signal.SIGUSR2) is users) == "True"
        forks.put_back(signal.SIGUSR2, outer)
        assert signal.getsignal(signal.SIGUSR2) is users
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_programs_inherit_neither_ignored_nor_blocked_signals(handled: list[int]) -> None:
    look = "import signal; print(signal.getsignal(signal.SIGUSR2), signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    for prepare in (None, lambda: None):
        command = [sys.executable, "-c", look]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=prepare, check=True)
        assert done.stdout == "0 set()\n"


def _descriptors() -> set[str]:
    found = set()
    for name in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(name.readlink()))
        except FileNotFoundError:  # that of the listing
            continue
    return found


def _run_file(place: Path) -> list[Any]:
    return [RunFile.claim(place / "run", Claim(RunKey("t", 1, 0), "1", "here", 1, 0.0))]


def _bell(place: Path) -> list[Any]:
    made = [Doorbell(place / "bell", everywhere=False), DoorbellClient(place / "bell")]
    made[1].ring()
    return made


@pytest.mark.parametrize(
    "make",
    [_run_file, _bell, lambda p: [Lock(p / "lock")], lambda p: [Journal(p)], lambda p: [WallClock()]],
    ids=["run file", "doorbell", "lock", "journal", "clock"],
)
def test_no_file_socket_or_pipe_of_ours_is_open_in_a_child(tmp_path: Path, make: Callable[[Path], list[Any]]) -> None:
    before = _descriptors()
    things = make(tmp_path)
    ours = _descriptors() - before
    assert ours
    assert in_child(lambda: sorted(ours & _descriptors())) == "[]"
    assert ours <= _descriptors()
    for thing in things:
        thing.release() if isinstance(thing, Lock) else thing.forget()


def test_a_child_holds_no_lock_when_its_parent_is_gone(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        theirs.send(b"x")
        theirs.recv(1)  # until the parent lets go
        os._exit(0)
    ours.recv(1)
    lock.release()
    Lock(tmp_path / "lock").release()
    ours.send(b"x")
    os.waitpid(child, 0)
    ours.close()
    theirs.close()
