"""Sleeping: until woken, until a bell, and not too little."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctune.driver.clock import WallClock
from hpctune.storage.doorbell import Doorbell, DoorbellClient

LONG_S = 60.0


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Doorbell]:
    made = Doorbell(tmp_path / "doorbell.json", everywhere=False)
    yield made
    made.close()


def slept(clock: WallClock, seconds: float, undisturbed: float = 0.0) -> float:
    began = time.monotonic()
    clock.sleep(seconds, undisturbed)
    return time.monotonic() - began


def test_a_bell_ends_a_sleep_but_not_what_is_to_be_undisturbed(tmp_path: Path, bell: Doorbell) -> None:
    clock = WallClock(busy=1.0)
    clock.listen(bell)
    ringer = DoorbellClient(str(tmp_path / "doorbell.json"))
    ringer.ring()
    assert slept(clock, LONG_S) < LONG_S / 2
    ringer.ring()
    assert 0.3 <= slept(clock, LONG_S, undisturbed=0.3) < LONG_S / 2
    ringer.ring()
    assert slept(clock, 0.1, undisturbed=LONG_S) < LONG_S / 2, "no longer than asked for"
    ringer.close()


def test_who_asks_to_leave_disturbs(bell: Doorbell) -> None:
    clock = WallClock(busy=1.0)
    timer = threading.Timer(0.1, clock.wake)
    timer.start()
    assert slept(clock, LONG_S, undisturbed=LONG_S) < LONG_S / 2
    timer.join()
