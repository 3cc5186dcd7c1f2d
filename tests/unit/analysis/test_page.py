"""``hpctune html``: what the page knows, and that nothing of a user's becomes markup."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpctune.analysis.page import data as page_data
from hpctune.analysis.page.build import page
from hpctune.analysis.page.data import experiment_data, rounded
from hpctune.analysis.pictures.style import COLOURS, ON_DARK
from hpctune.cli.main import cli
from hpctune.errors import MetricError
from tests.support.cli_support import checksum
from tests.support.output_support import Recorder, usual
from tests.support.picture_support import search, written


def data_in(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    loaded: list[dict[str, Any]] = json.loads(found[1])
    return loaded


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search(tmp_path_factory.mktemp("page") / "exp")


def test_what_the_page_knows(experiment: Path) -> None:
    before = checksum(experiment)
    known = experiment_data(experiment)
    assert checksum(experiment) == before
    assert known["metric"] == "loss"
    assert not known["assumed"]
    trials = known["trials"]
    assert len(trials["id"]) == 40
    named = [known["states"][n] for n in trials["state"]]
    assert {s: named.count(s) for s in set(named)} == {"completed": 24, "stopped early": 12, "failed": 3, "running": 1}
    assert [p["name"] for p in known["params"]] == ["lr", "net/width", "net/act", "dropout", "betas"]
    assert known["constants"] == [["data", "/scratch/set"]]
    losses = known["metrics"][0]["values"]
    best = min(v for v in losses if v is not None)
    assert known["best"]["value"] == pytest.approx(best, rel=1e-5)
    assert losses[known["best"]["trial"]] == best
    assert known["history"][-1][3] == best
    assert known["importance"][0][0] == "lr"
    assert known["curves"][0] == [0, known["curves"][0][1]], "its iterations are 1, 2, 3, ..."
    assert known["fronts"].keys() == {f"0 {a} 1 {b}" for a in ("min", "max") for b in ("min", "max")}
    assert known["failures"][0]["brief"] == "RuntimeError: CUDA out of memory, 7 MB"
    assert len(known["failures"][0]["trials"]) == 3, "the same failure, once"
    assert len(known["lanes"]["rows"]) == 40
    by_cause = known["cost"]["tables"][0]
    assert by_cause["header"][:5] == ["cause", "jobs", "trials", "CPU h asked", "CPU h held"]
    used = {row[0]: row[1:] for row in by_cause["rows"]}
    assert used["start-up"][:3] == ["40", "40", f"{40 * 4 / 3600:.4f}"]
    assert used["failure"][1] == "3"
    assert [one["by"] for one in known["cost"]["tables"]] == ["cause"], "one partition, one account, one user, one week"


def test_other_metrics(experiment: Path) -> None:
    known = experiment_data(experiment, "latency", "max")
    assert (known["metric"], known["mode"], known["assumed"]) == ("latency", "max", False)
    assert experiment_data(experiment, "latency")["assumed"], "nobody said what is better"
    filled_in = experiment_data(experiment, "training_iteration", "max")
    assert [m["name"] for m in filled_in["metrics"]] == ["training_iteration", "loss", "latency"]
    assert len(filled_in["fronts"]) == 3 * 4
    with pytest.raises(MetricError, match="Did you mean 'loss'"):
        experiment_data(experiment, "los")


def test_an_experiment_without_trials_or_results(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "empty")
    known = experiment_data(made.paths.root, "loss")
    assert (known["trials"]["id"], known["best"], known["history"]) == ([], None, [])
    assert known["cost"]["tables"] == []
    made.add(lr=1)
    known = experiment_data(made.paths.root)
    assert known["trials"]["id"] == ["1f3a9_00000"]
    assert known["constants"] == [["lr", "1"]]
    assert data_in(page([made.paths.root]))[0]["name"] == "empty"


def test_an_experiment_without_a_metric(tmp_path: Path) -> None:
    known = experiment_data(search(tmp_path / "exp", trials=8, metric=None))
    assert (known["metric"], known["mode"], known["assumed"]) == ("loss", "min", True)
    made = Recorder(tmp_path / "none", metric=None, mode=None)
    made.start(made.add(lr=1))
    made.report("1f3a9_00000", [{"words": "only"}])
    assert experiment_data(made.paths.root)["metric"] is None


def test_odd_values_are_told_as_they_are(tmp_path: Path) -> None:
    values = (math.nan, math.inf, 3.0, "a</script>", [1, [2]], None, True, {})
    losses = (1.0, math.nan, -math.inf, 2.0, "words", [1], None, True)
    configs = [{"x": value, "y": value if isinstance(value, float) else 1.0} for value in values]
    root = written(tmp_path / "odd", *((c, {"loss": loss}, "") for c, loss in zip(configs, losses, strict=True)))
    known = experiment_data(root)
    odd, plain = {p["name"]: p for p in known["params"]}["x"], {p["name"]: p for p in known["params"]}["y"]
    assert odd["categories"] == ["3.0", "None", "True", "[1, [2]]", "a</script>", "inf", "nan"]
    assert plain["places"] == [None, None, 3, 1, 1, 1, 1, 1]
    assert plain["odd"] == {"0": "nan", "1": "inf"}
    assert known["metrics"][0]["values"] == [1, None, None, 2, None, 1, None, 1]
    assert data_in(page([root])) == [known], "JSON without NaN"


def test_nothing_of_a_user_becomes_markup(tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)><!--"
    trials = [({bad: n, "kind": f"{bad}{n % 2}"}, {bad: float(n)}, bad) for n in range(8)]
    text = page([written(tmp_path / "@DATA@&lt;<b>x", *trials, metric=bad)])
    assert "<img" not in text
    assert "<b>" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "<title>@DATA@&amp;lt;&lt;b&gt;x</title>" in text
    assert data_in(text)[0]["params"][0]["name"] == bad


def test_the_page_loads_nothing_and_its_script_makes_no_markup(experiment: Path) -> None:
    text = page([experiment])
    script = text.rpartition("<script>")[2]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "import("):
        assert way not in script
    assert not re.search(r'(src|href)="?https?:|url\(|@import', text)
    assert "default-src 'none'" in text
    assert len(text) < 200_000


def test_large_experiments_stay_small(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_data, "MAX_CURVE_POINTS", 10)
    monkeypatch.setattr("hpctune.analysis.page.cost.MAX_ROWS", 5)
    known = experiment_data(experiment)
    assert max(len(curve[1]) for curve in known["curves"]) == page_data.MIN_CURVE_POINTS
    assert {len(curve) for curve in known["curves"] if len(curve[1]) > 10} == {3}, (
        "iterations are told: some are left out"
    )
    assert len(known["lanes"]["rows"]) < known["lanes"]["allocations"] == 40
    assert not any(span[0] == 0 for row in known["lanes"]["rows"] for span in row["spans"]), "no waiting"


def test_numbers_are_short() -> None:
    assert [rounded(v) for v in (0.123456789, 2.0, 1e300, math.nan, None)] == [0.123457, 2, 1e300, None, None]


def test_colours_can_be_read() -> None:
    def light(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    def contrast(a: str, b: str) -> float:
        low, high = sorted((light(a), light(b)))
        return (high + 0.05) / (low + 0.05)

    style = Path(page_data.__file__).with_name("page.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root[^{]*\{([^}]*)\}", style)]
    for theme, states in zip(themes, (COLOURS, ON_DARK), strict=True):
        for back in (theme["back"], theme["card"]):
            for text in (theme["text"], theme["faint"], theme["link"], theme["best"], *states.values()):
                assert contrast(text, back) >= 4.5, (text, back)
            assert contrast(theme["focus"], back) >= 3
        assert contrast(theme["text"], theme["differs"]) >= 4.5


def test_the_command_writes_one_file(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = usual(tmp_path / "other").paths.root
    run = CliRunner()
    assert re.fullmatch(r"exp\.html \(\d+ kB\)\n", run.invoke(cli, ["html", str(experiment)]).output)
    assert run.invoke(cli, ["html", str(experiment), str(other), "-o", "both.html"]).exit_code == 0
    both = (tmp_path / "both.html").read_text()
    assert [one["name"] for one in data_in(both)] == ["exp", "other"]
    assert "<title>2 experiments: exp, other</title>" in both
    for bad, why in (("no/a.html", "there is no folder"), (str(tmp_path), "is a folder")):
        assert why in str(run.invoke(cli, ["html", str(other), "-o", bad]).exception)
