from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.analysis.filters import parse
from hpctune.analysis.listing import list_experiments, list_trials, select
from hpctune.errors import UsageError
from tests.support.output_support import Recorder, usual

ROW: dict[str, Any] = {"acc": 0.9, "status": "RUNNING", "config/lr": 0.01, "n": 3, "on": True, "none": None, "v": "3"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("acc > 0.8", True),
        ("acc>.95", False),
        ("acc >= 0.9 and status == RUNNING", True),
        ("status = 'RUNNING' or missing > 3", True),
        ("not status == PAUSED", True),
        ("(acc < 0.5 or n == 3) and config/lr <= 1e-2", True),
        ("acc < 0.5 or n == 3 and config/lr > 1", False),
        ("status ~ UNN", True),
        ("`config/lr` != 0.01", False),
        ("missing > 1", False),
        ("missing != 1", True),
        ("missing == none", True),
        ("on == true", True),
        ("on", True),
        ("missing", False),
        ("v == 3", True),
        ("status > 3", False),
        ("n > -5", True),
    ],
)
def test_filters(expression: str, expected: bool) -> None:
    assert parse(expression)(ROW) is expected


@pytest.mark.parametrize(
    ("expression", "place"),
    [("acc >", 6), ("acc > 1 1", 9), ("(acc > 1", 9), ("> 1", 1), ("", 1), ("acc > 1 and", 12), ("a; import os", 2)],
)
def test_nonsense_is_refused_with_its_place(expression: str, place: int) -> None:
    with pytest.raises(UsageError, match=f"at character {place}\\."):
        parse(expression)


ODD: dict[str, Any] = {"val acc (%)": 91.0, "Genauigkeit für α": 0.5, "config/lr rate": 0.1, "n": 1, "n and m": 7}


@pytest.mark.parametrize(
    ("expression", "expected", "columns"),
    [
        ("val acc (%) > 90", True, ["val acc (%)"]),
        ("`val acc (%)` > 90 and n == 1", True, ["val acc (%)", "n"]),
        ("(val acc (%)>95 or Genauigkeit für α == 0.5)", True, ["val acc (%)", "Genauigkeit für α"]),
        ("lr rate < 0.05", False, ["config/lr rate"]),
        ("config/lr rate < 0.5", True, ["config/lr rate"]),
        ("n and m == 7", True, ["n and m"]),
        ("µ > 1", False, ["µ"]),
    ],
)
def test_names_of_any_kind(expression: str, expected: bool, columns: list[str]) -> None:
    found = parse(expression, ODD)
    assert list(found.columns) == columns
    assert found(ODD) is expected


def test_a_filter_or_a_sort_by_an_unknown_column_is_refused(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    for give in ({"filter": "los > 3"}, {"sort": "los"}, {"columns": ["trial_id", "los"]}):
        with pytest.raises(UsageError, match=r"no column 'los'\. Did you mean 'loss'\? There are: trial_id, "):
            list_trials(tmp_path / "exp", **give)  # type: ignore[arg-type]
    assert len(list_trials(tmp_path / "exp", filter="lr >= 0", sort="lr", columns=["lr"])) > 0
    assert list_trials(tmp_path / "exp", filter="trial_id == nobody") == []


def test_the_metric_is_sorted_best_first() -> None:
    rows = [{"acc": 1}, {"acc": 3}, {"acc": None}, {"acc": 2}]
    assert [r["acc"] for r in select(rows, sort="acc", descending=True)] == [3, 2, 1, None]


@pytest.mark.parametrize(("mode", "best_first"), [("min", True), ("max", False)])
def test_sort_by_the_metric_goes_by_the_mode(tmp_path: Path, mode: str, best_first: bool) -> None:
    usual(tmp_path / "exp")
    spec = json.loads((tmp_path / "exp" / "experiment.json").read_text())
    assert spec["metric"] == "loss"
    (tmp_path / "exp" / "experiment.json").write_text(json.dumps(spec | {"mode": mode}))

    def values(**how: bool) -> list[float]:
        *known, last = (r["loss"] for r in list_trials(tmp_path / "exp", sort="loss", **how) if "loss" in r)
        assert math.isnan(last), "what has no order stands last"
        return known

    assert values() == sorted(values(), reverse=not best_first)
    assert values(descending=True) == [5.0, 2.0, 1.0]
    assert values(descending=False) == [1.0, 2.0, 5.0]


def test_trials_as_rows(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    rows = list_trials(tmp_path / "exp")
    assert [r["status"] for r in rows] == ["TERMINATED", "TERMINATED", "ERROR", "RUNNING", "QUEUED"]
    assert rows[0]["eval/acc"] == 0.6
    assert rows[2]["error"] == "ValueError: no memory"
    assert (rows[3]["node"], rows[4]["job_id"]) == ("node7", "104")
    found = list_trials(
        tmp_path / "exp", filter="loss < 4 and config/lr > 0.001", sort="-loss", columns=["loss", "name"]
    )
    assert found == [{"loss": 2.0, "name": "train_1f3a9_00001"}, {"loss": 1.0, "name": "train_1f3a9_00000"}]
    ordered = list_trials(tmp_path / "exp", sort="loss", limit=4)
    assert [r["loss"] for r in ordered[:3]] == [1.0, 2.0, 5.0]
    assert math.isnan(ordered[3]["loss"])


def test_experiments_as_rows(tmp_path: Path) -> None:
    usual(tmp_path / "one")
    Recorder(tmp_path / "two")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment.json").write_text("{")
    rows = {r["name"]: r for r in list_experiments(tmp_path)}
    assert list(rows) == ["broken", "one", "two"]
    assert (rows["one"]["trials"], rows["one"]["best"], rows["one"]["status"]) == (5, 1.0, "running")
    assert rows["one"]["counts"] == "1 running, 1 queued, 1 error, 2 completed"
    assert rows["two"]["status"] == "new"
    assert "Cannot read" in rows["broken"]["error"]
    assert [r["name"] for r in list_experiments(tmp_path, filter="trials > 0")] == ["one"]
    assert [r["name"] for r in list_experiments(tmp_path / "one")] == ["one"]
    with pytest.raises(UsageError, match="no directory"):
        list_experiments(tmp_path / "nowhere")


def test_unknown_columns_are_named() -> None:
    with pytest.raises(UsageError, match=r"no column 'b'. There are: a\."):
        select([{"a": 1}], columns=["b"])
    with pytest.raises(UsageError, match="no column 'c'"):
        select([{"a": 1}], sort="-c")
    assert select([], sort="c") == []


def test_lists_load_nothing_heavy(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    code = (
        "import sys\n"
        "from hpctune.analysis.listing import list_experiments, list_trials\n"
        "from hpctune.output.display.status import status_of\n"
        f"list_trials({str(tmp_path / 'exp')!r}); list_experiments({str(tmp_path)!r})\n"
        "print(len(sys.modules), *{'numpy', 'pandas', 'rich', 'tensorboardX', 'cloudpickle'} & set(sys.modules))"
    )
    count, *heavy = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == []
    assert int(count) < 250
