"""The command of a Sacred experiment, and what of its values becomes a result."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpctune.errors import UsageError
from hpctune.worker.hearing import HEARING
from hpctune.worker.sacred_command import SacredCommand, named_configurations, seed_of

FACTS = {"trial_id": "1f3a9_00001"}


def test_the_words_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    config = {"a.b": 1e-5, "text": "it's", "none": None, "list": [1, "x"], "flag": True, "+data": "big"}
    words, variables = SacredCommand(["train.py"], metric="loss").program(config, FACTS)
    seed = f"seed={seed_of('1f3a9_00001')}"
    assert words == [
        sys.executable, "train.py", "with", seed, "a.b=1e-05", 'text="it\'s"', "none=None", "list=[1, 'x']",
        "flag=True", "big",
    ]  # fmt: skip
    assert variables["HPCTUNE_HEARD_METRIC"] == "loss"
    words, variables = SacredCommand(["train.py"], conda_environment="torch").program({"seed": 3}, FACTS)
    assert (words[:2], words[3:]) == (["bash", "-c"], ["torch", "train.py", "with", "seed=3"])
    assert "HPCTUNE_HEARD_METRIC" not in variables


def test_seeds() -> None:
    seeds = {seed_of(f"1f3a9_{number:05}") for number in range(100)}
    assert len(seeds) == 100
    assert all(1 <= seed <= 10**9 for seed in seeds)


def test_named_configurations_by_priority() -> None:
    config = {
        "+z": "last", "+b.name": "second", "+b.priority": 2, "+a.name": "first", "+a.priority": 1, "x": 1,
        "+c": {"name": "also", "priority": 2.0},
    }  # fmt: skip
    assert named_configurations(config) == ["first", "also", "second", "last"]
    for wrong in ({"+a": 3}, {"+a.priority": 1}, {"+a.name": "n", "+a.priority": "x"}, {"+a.other": "n"}):
        with pytest.raises(UsageError, match=r"\+a"):
            named_configurations(wrong)


def test_where_it_may_import_from() -> None:
    found = SacredCommand(["a.py"], cwd="/x", search_paths=["/root"]).search_path("/mine")
    assert found["PYTHONPATH"].split(":") == [SacredCommand.SITE, HEARING, "/root", "/mine"]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for place in (HEARING, SacredCommand.SITE):
        monkeypatch.syspath_prepend(place)
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_STEP_ID", "HPCTUNE_HEARD_METRIC"):
        monkeypatch.delenv(name, raising=False)
    package = __import__("importlib").import_module("hpctune_sacred.rows")
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(package, "send", sent.append)
    package.sent = sent
    yield package
    for name in [name for name in sys.modules if name.startswith(("hpctune_hearing", "hpctune_sacred"))]:
        del sys.modules[name]


def test_the_values_of_a_step_are_one_result(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_HEARD_METRIC", "loss")
    for step in (0, 1, 2):
        rows.logged("loss", np.float64(step), step)
        rows.logged("acc", step * 10, step)
        if step:  # the names of a step are known then: nothing waits for the next one
            assert len(rows.sent) == step + 1
    rows.returned({"acc": 30, "text": "x", "test": {"acc": 7}})
    steps = [{"loss": step, "_step": step, "acc": step * 10} for step in (0, 1, 2)]
    assert rows.sent == [*steps, {"loss": 2, "acc": 30, "test.acc": 7}]


def test_values_without_the_metric_belong_to_the_next_result(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_HEARD_METRIC", "val")
    for step in range(4):
        rows.logged("train", step, step)
        if step % 2:
            rows.logged("val", -step, step)
    rows.returned(None)
    assert [row["val"] for row in rows.sent] == [-1, -3]
    assert [row["train"] for row in rows.sent] == [1, 3]


def test_without_a_metric_every_step_and_what_is_returned(rows: Any) -> None:
    rows.logged("a", 1)
    rows.logged("a", 2)
    rows.returned(0.5)
    assert rows.sent == [{"a": 1}, {"a": 2}, {"result": 0.5}] or rows.sent == [{"a": 1}, {"a": 2, "result": 0.5}]


def test_a_result_alone(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCTUNE_HEARD_METRIC", "acc")
    rows.returned("nothing")
    rows.returned({"other": 3})
    assert rows.sent == []
    rows.returned({"acc": 0.5})
    assert rows.sent == [{"other": 3, "acc": 0.5}]
    monkeypatch.setenv("RANK", "1")
    rows.logged("acc", 1)
    rows.returned({"acc": 1})
    assert len(rows.sent) == 1


def test_it_says_that_sacred_is_missing(tmp_path: Path) -> None:
    import subprocess

    path = f"{SacredCommand.SITE}:{HEARING}"
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sacred"], env={"PYTHONPATH": path}, capture_output=True, text=True,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert "No module named 'sacred' for" in done.stderr
