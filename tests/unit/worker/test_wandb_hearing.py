"""What of wandb.log becomes a report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hpctune.worker.hearing import HEARING


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(HEARING)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_STEP_ID", "HPCTUNE_HEARD_METRIC"):
        monkeypatch.delenv(name, raising=False)
    from hpctune_hearing import reports as hearing

    hearing._pending.clear()
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(hearing, "send", sent.append)
    hearing.sent = sent
    yield hearing
    for name in [name for name in sys.modules if name.startswith("hpctune_hearing")]:
        del sys.modules[name]


def test_every_call_without_a_metric(hearing: Any) -> None:
    hearing.heard({"a": 1}, commit=False)
    hearing.heard({"b": np.float32(0.5), "picture": object(), "text": "x", "flag": True})
    hearing.heard({"picture": object()})
    assert hearing.sent == [{"a": 1, "b": 0.5, "flag": True}]


def test_a_metric_gathers_what_came_before(hearing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_HEARD_METRIC", "val.loss")
    for step in (0, 1):
        hearing.heard({"train": {"loss": step}}, step=step)
        hearing.heard({"val": {"loss": 0.1}}, step=step)
    hearing.heard_summary({"other": 1})
    hearing.heard_summary({"val.loss": 0.05})
    first, second = ({"train.loss": step, "val.loss": 0.1, "_step": step} for step in (0, 1))
    assert hearing.sent == [first, second, {"val.loss": 0.05}]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK"])
def test_other_ranks_say_nothing(hearing: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    hearing.heard({"a": 1})
    assert hearing.sent == []
    monkeypatch.setenv(name, "0")
    hearing.heard({"a": 1})
    assert hearing.sent == [{"a": 1}]


def test_tasks_of_an_srun_of_its_own(hearing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("HPCTUNE_HEARD_STEP_ID", "0")
    hearing.heard({"a": 1})  # the worker itself is task 3 of its step
    assert len(hearing.sent) == 1
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    hearing.heard({"a": 1})
    assert len(hearing.sent) == 1
