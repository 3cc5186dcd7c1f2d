"""A limit by work and not by wall time, for tests that only compute: they end on a machine with any load."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

PROCESSOR_S = 300.0


@contextlib.contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in the block after so many seconds of this process's processor time."""

    def exceeded(*_: Any) -> None:
        raise TimeoutError(f"the test has used {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, exceeded)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture(autouse=True)
def processor_time_limit() -> Iterator[None]:
    """Limit a test to ``PROCESSOR_S``."""
    with processor_time(PROCESSOR_S):
        yield


def without_wall_time_limit(items: list[pytest.Item], folder: str) -> None:
    """Take the limit of wall time from the tests of ``folder``."""
    for item in items:
        if folder in item.path.parts:
            item.add_marker(pytest.mark.timeout(0))
