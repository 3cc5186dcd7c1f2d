"""Waiting for descriptors, of which user code may have opened many."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import time

import pytest

from hpctune.common.poll import wait_readable
from hpctune.driver.clock import WallClock


def test_what_can_be_read_is_found() -> None:
    quiet, silent = os.pipe()
    loud, voice = os.pipe()
    try:
        assert wait_readable([quiet, loud], 0) == set()
        os.write(voice, b"x")
        assert wait_readable([quiet, loud], 60) == {loud}
        os.close(silent)
        assert wait_readable([quiet], 60) == {quiet}, "its end counts, too"
        silent = os.dup(voice)
        assert wait_readable([], 0) == set()
    finally:
        for end in (quiet, silent, loud, voice):
            os.close(end)
    one, other = socket.socketpair()
    with one, other:
        other.send(b"x")
        assert wait_readable([one], -1.0) == {one.fileno()}


def test_a_driver_sleeps_with_more_files_open_than_select_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("no more than 3,000 open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    real, made = os.pipe, list[int]()

    def high() -> tuple[int, int]:
        ends = real()
        found = fcntl.fcntl(ends[0], fcntl.F_DUPFD, 2000), fcntl.fcntl(ends[1], fcntl.F_DUPFD, 2000)
        made.extend(found)
        for end in ends:
            os.close(end)
        return found

    monkeypatch.setattr(os, "pipe", high)
    try:
        clock = WallClock()
        assert min(made) >= 2000
        began = time.monotonic()
        clock.sleep(0.01)
        clock.wake()
        clock.sleep(60.0)
        assert time.monotonic() - began < 30.0
        del clock
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
