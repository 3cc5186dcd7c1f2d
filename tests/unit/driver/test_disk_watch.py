"""When the driver warns that there is little space for checkpoints."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.driver import disk_watch
from hpctune.driver.disk_watch import LOOK_S, QUOTA_S, DiskWatch
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.storage import free_space
from hpctune.storage.layout import ExperimentPaths
from tests.unit.core.test_plan import SPEC, state_with

RUNNING: dict[str, Any] = {"phase": Phase.RUNNING, "attempt": {"restart": 0}}
SAVED = {"checkpoints": (CheckpointRef("c1", 1, bytes=10**9, metric=1.0),), "last": {"loss": 1.0}}


def noted(
    monkeypatch: pytest.MonkeyPatch, free: int | None, *trials: dict[str, Any], spec: Any = SPEC, **policy: Any
) -> str:
    monkeypatch.setattr(free_space, "free_bytes", lambda path: free)
    monkeypatch.setattr(disk_watch, "quota_left", lambda path: None)
    watch = DiskWatch(ExperimentPaths(Path("/nowhere")))
    state = state_with(*trials, spec=replace(spec, checkpoint=CheckpointPolicy(**policy)))
    assert watch.look(state, 0.0) == bool(watch.note)
    assert not watch.look(state, LOOK_S - 1)
    assert not watch.look(state, LOOK_S), "told once"
    return watch.note


@pytest.mark.parametrize(
    ("free", "trials", "words"),
    [
        (3 * 10**9, [{**RUNNING, **SAVED}, RUNNING], "3 GB left, room for 3 checkpoints of 1 GB"),
        (4 * 10**9, [{**RUNNING, **SAVED}, RUNNING], ""),
        (0, [RUNNING], ""),
        (0, [{"phase": Phase.PAUSED, **SAVED}], ""),
        (None, [{**RUNNING, **SAVED}], ""),
    ],
)
def test_a_filesystem_that_is_nearly_full(
    monkeypatch: pytest.MonkeyPatch, free: int | None, trials: list[dict[str, Any]], words: str
) -> None:
    said = noted(monkeypatch, free, *trials)
    assert words in said
    assert bool(words) == bool(said)


def test_a_quota_that_is_nearly_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(disk_watch, "has_quota_command", lambda: True)
    monkeypatch.setattr(free_space, "free_bytes", lambda path: 10**15)
    monkeypatch.setattr(disk_watch, "quota_left", lambda path: asked.append(path) or 10**9)
    watch = DiskWatch(ExperimentPaths(Path("/nowhere")))
    state = state_with({**RUNNING, **SAVED})
    watch.look(state, 0.0)
    while watch._quota.left is None:
        time.sleep(0.01)
    watch.look(state, LOOK_S)
    assert "your quota has 1 GB left, room for 1 checkpoint of 1 GB" in watch.note
    assert len(asked) == 1
    watch.look(state, QUOTA_S + 1)
    while len(asked) == 1:
        time.sleep(0.01)


def test_a_limit_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {**SAVED, "checkpoints": (CheckpointRef("c0", 0, bytes=10**9), *SAVED["checkpoints"])}
    assert noted(monkeypatch, None, {**RUNNING, **two}, max_total=1) == "", "the next turn removes one"
    said = noted(monkeypatch, None, {**RUNNING, **SAVED}, {**RUNNING, **SAVED}, max_total=1, max_total_bytes=10**8)
    assert "2 checkpoints, max_total_checkpoints=1, 2 GB of checkpoints, max_total_bytes=100 MB: the others" in said
    assert "without metric=" in said
    spec = replace(SPEC, metric="loss", mode="min")
    assert "without metric=" not in noted(monkeypatch, None, *[{**RUNNING, **SAVED}] * 2, spec=spec, max_total=1)


def test_what_is_free() -> None:
    assert (free_space.free_bytes(Path("/")) or 0) > 0
    assert free_space.free_bytes(Path("/no/such/place")) is None
