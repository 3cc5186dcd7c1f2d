"""The doorbell: it wakes, it says nothing, and nothing depends on it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpctune.driver.clock import WallClock
from hpctune.storage.doorbell import Doorbell, DoorbellClient


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Doorbell]:
    one = Doorbell(tmp_path / "doorbell.json", everywhere=False)
    yield one
    one.close()


@pytest.fixture
def ringer(tmp_path: Path) -> Iterator[DoorbellClient]:
    one = DoorbellClient(tmp_path / "doorbell.json")
    yield one
    one.close()


def test_a_ring_ends_a_sleep_and_is_answered(bell: Doorbell, ringer: DoorbellClient) -> None:
    clock = WallClock()
    clock.listen(bell)
    began = time.monotonic()
    timer = threading.Timer(0.2, ringer.ring)
    timer.start()
    clock.sleep(60)
    timer.join()
    assert time.monotonic() - began < 30
    timer = threading.Timer(0.2, bell.answer)
    timer.start()
    ringer.wait(60)
    timer.join()
    assert time.monotonic() - began < 30


def test_who_is_gone_is_not_rung_back(bell: Doorbell, ringer: DoorbellClient) -> None:
    ringer.ring()
    assert bell.heard()
    bell.answer()
    ringer.wait(30)
    assert len(bell._ringers) == 1
    ringer.close()
    assert not bell.heard()
    assert bell._ringers == {}


def test_only_the_token_counts(bell: Doorbell, tmp_path: Path) -> None:
    where = json.loads((tmp_path / "doorbell.json").read_text())
    assert (tmp_path / "doorbell.json").stat().st_mode & 0o077 == 0
    assert where["host"] == "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(0.3)
        for data in (b"", b"x" * 2000, where["token"].encode()[:-1], b"\xff" * 32):
            stranger.sendto(data, (where["host"], where["port"]))
        assert not bell.heard()
        bell.answer()
        with pytest.raises(TimeoutError):
            stranger.recv(10)
        stranger.sendto(where["token"].encode(), (where["host"], where["port"]))
        stranger.settimeout(30)
        while not bell.heard():
            pass
        assert not bell.heard(), "each ring is heard once"
        bell.answer()
        assert stranger.recv(100) == where["token"].encode()


def test_without_a_bell_a_wait_is_a_wait(ringer: DoorbellClient, tmp_path: Path) -> None:
    for text in (None, "", "{}", '{"host": "no such host.invalid", "port": 9, "token": "x"}', '{"host": 3}'):
        if text is not None:
            (tmp_path / "doorbell.json").write_text(text)
        ringer.ring()
        began = time.monotonic()
        ringer.wait(0.05)
        assert time.monotonic() - began >= 0.05


def test_a_bell_whose_driver_is_gone_keeps_nobody_awake(bell: Doorbell, ringer: DoorbellClient, tmp_path: Path) -> None:
    text = (tmp_path / "doorbell.json").read_text()
    bell.close()
    assert not (tmp_path / "doorbell.json").exists()
    (tmp_path / "doorbell.json").write_text(text)
    ringer.ring()
    began = time.monotonic()
    ringer.wait(0.1)
    assert time.monotonic() - began >= 0.1


def test_a_bell_leaves_its_successors_file_alone(bell: Doorbell, tmp_path: Path) -> None:
    successor = Doorbell(tmp_path / "doorbell.json", everywhere=False)
    bell.close()
    assert (tmp_path / "doorbell.json").exists()
    successor.close()
    assert not (tmp_path / "doorbell.json").exists()


def test_waking_ends_a_sleep_at_once_and_the_next_one_not() -> None:
    clock = WallClock()
    clock.wake()
    clock.wake()
    began = time.monotonic()
    clock.sleep(60)
    assert time.monotonic() - began < 30
    began = time.monotonic()
    clock.sleep(0.05)
    assert time.monotonic() - began >= 0.05
