"""The limit of tests that only compute counts processor time, and no time that passes otherwise."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.support.work_limit import processor_time


def test_endless_work_is_ended() -> None:
    with pytest.raises(TimeoutError, match="has used"), processor_time(0.05):
        for _ in itertools.count():
            pass


def test_waiting_is_no_work() -> None:
    with processor_time(0.2):
        time.sleep(0.4)
