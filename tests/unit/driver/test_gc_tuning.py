"""What a driver does to the garbage collector, and undoes."""

from __future__ import annotations

import gc
import weakref

import pytest

from hpctune.driver import gc_tuning
from hpctune.driver.gc_tuning import frozen_gc


class Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_survived_is_not_looked_at_again_until_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc_tuning, "ALL_S", 60.0)
    clock = [0.0]
    monkeypatch.setattr(gc_tuning.time, "monotonic", lambda: clock[0])
    gc.collect()
    assert gc.get_freeze_count() < gc_tuning.MAX_FROZEN_AT_START
    with frozen_gc():
        old = Knot()
        gc.collect()
        assert gc.get_freeze_count() > 1000
        kept = weakref.ref(old)
        new = Knot()
        soon = weakref.ref(new)
        del old, new
        gc.collect()
        assert soon() is None, "what is new is collected as ever"
        assert kept() is not None
        clock[0] = 61.0
        gc.collect()
        assert kept() is None, "what is old is collected after a while"
        assert gc.get_freeze_count() > 1000
        with frozen_gc():  # a search within a search
            gc.collect()
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() < gc_tuning.MAX_FROZEN_AT_START
    assert not any(isinstance(each, gc_tuning._FullCollections) for each in gc.callbacks)


def test_who_freezes_objects_keeps_them_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with frozen_gc():
            gc.collect()
        assert gc.get_freeze_count() <= frozen
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
