"""What keeps a pool right can fail: each mutant of it breaks an invariant of the engine's world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpctune.cluster.pool import worker as pool_worker
from hpctune.storage import worker_files
from tests.property.test_pool import run_schedule
from tests.property.world import Violation

SEEDS = range(60)
Patch = Callable[[pytest.MonkeyPatch], None]


def lose_what_was_not_begun(patch: pytest.MonkeyPatch) -> None:
    """What a worker never began dies with it."""

    def cannot_begin(self: Any, number: int) -> None:
        self.entries.pop(number, None)

    patch.setattr(pool_worker.WorkerView, "_cannot_begin", cannot_begin)


def forget_the_orders(patch: pytest.MonkeyPatch) -> None:
    """A new driver knows only what has begun."""
    real = pool_worker.WorkerView.adopt

    def adopt(self: Any, now: float) -> None:
        patch.setattr(worker_files, "parse_orders", lambda text: None)
        try:
            real(self, now)
        finally:
            patch.undo()
            forget_the_orders(patch)

    patch.setattr(pool_worker.WorkerView, "adopt", adopt)


def many_schedules() -> None:
    for seed in SEEDS:
        run_schedule(seed)


@pytest.mark.parametrize(
    ("mutant", "invariant"),
    [
        (lose_what_was_not_begun, "no attempt without a cause"),
        (forget_the_orders, "no attempt without a cause"),
    ],
)
def test_a_mutant_is_caught(mutant: Patch, invariant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    with pytest.raises(Violation) as caught:
        many_schedules()
    assert caught.value.invariant == invariant
