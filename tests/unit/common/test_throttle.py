"""A throttled thing has an interval and a share of the time."""

from __future__ import annotations

import itertools

import pytest

from hpctune.common import throttle
from hpctune.common.throttle import Throttle


def test_the_next_time_depends_on_the_interval_and_on_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(throttle, "perf_counter", lambda: float(next(ticks)))  # each takes a second
    often, rarely = Throttle(0.0, 5.0), Throttle(60.0, 5.0)
    assert often.due(100.0)
    with often.measured(100.0):
        assert not often.due(1e9), "not while it goes on"
    assert [often.due(now) for now in (105.9, 106.0)] == [False, True]
    assert often.wait_s(104.0) == 2.0
    assert often.wait_s(200.0) == 0.0
    with rarely.measured(100.0):
        pass
    assert [rarely.due(now) for now in (159.9, 160.0)] == [False, True]


def test_what_fails_is_due_again() -> None:
    once = Throttle(1.0)
    with pytest.raises(OSError, match="no"), once.measured(10.0):
        raise OSError("no")
    assert once.due(1e9)
