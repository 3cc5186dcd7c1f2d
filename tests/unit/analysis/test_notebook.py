"""What a notebook shows of results."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hpctune.analysis import ExperimentAnalysis, Result, ResultGrid
from hpctune.analysis.notebook import MAX_TRIALS
from tests.support.output_support import Recorder, usual
from tests.support.picture_support import search, written

BAD = "</td><script>alert(1)</script>"


class Cells(HTMLParser):
    """The text of each row, and the elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def shown(thing: object) -> Cells:
    return Cells(thing._repr_html_())  # type: ignore[attr-defined]


def test_a_grid_shows_its_best_trials_first(tmp_path: Path) -> None:
    analysis = ExperimentAnalysis(search(tmp_path / "exp", trials=30))
    for thing in (analysis, ResultGrid(analysis)):
        cells = shown(thing)
        head, *rows = cells.rows
        assert head == [
            "trial",
            "state",
            "loss",
            "curve",
            "iteration",
            "lr",
            "net/width",
            "net/act",
            "dropout",
            "betas",
        ]
        assert len(rows) == MAX_TRIALS
        losses = [float(row[2]) for row in rows]
        assert losses == sorted(losses)
        assert rows[0][0] == analysis.best_trial.trial_id if analysis.best_trial else False
        assert cells.tags.count("svg") == MAX_TRIALS
    text = analysis._repr_html_()
    assert "30 trials: " in text
    assert "the best 20 are shown" in text


def test_a_result_shows_its_metrics_config_and_error(tmp_path: Path) -> None:
    grid = ResultGrid(ExperimentAnalysis(usual(tmp_path / "exp").paths.root))
    rows = {row[0]: row[1] for row in shown(grid[0]).rows}
    assert rows["loss"] == "1"
    assert rows["state"].endswith("completed")
    assert rows["config/net/width"] == "8"
    assert "loss over training_iteration" in rows
    failed = {row[0]: row[1] for row in shown(grid[2]).rows}
    assert failed["error"] == "ValueError: no memory"
    assert "loss over training_iteration" not in failed, "it reported NaN only"
    assert ["trial", "1f3a9_00004"] in shown(grid[4]).rows


@pytest.mark.parametrize("metric", ["loss", None, BAD])
def test_nothing_of_a_user_becomes_markup(tmp_path: Path, metric: str | None) -> None:
    trials = [
        ({BAD: BAD, "x": n}, {"loss": float(n), BAD: math.nan if n else 2.0, "text": BAD}, BAD if n == 2 else "")
        for n in range(3)
    ]
    grid = ResultGrid(ExperimentAnalysis(written(tmp_path / BAD.replace("/", "|"), *trials, metric=metric)))
    for thing in (grid, *grid):
        assert "script" not in shown(thing).tags


def test_without_trials_and_without_an_experiment(tmp_path: Path) -> None:
    empty = ExperimentAnalysis(Recorder(tmp_path / "exp").paths.root)
    assert "0 trials" in empty._repr_html_()
    assert "table" not in shown(empty).tags
    assert ["loss", "1"] in shown(Result({"loss": 1, "config": {"a": 1}}, None, None, "/somewhere")).rows
    assert "/somewhere" in Result(None, None, None, "/somewhere")._repr_html_()


def test_a_trial_shows_what_its_result_shows(tmp_path: Path) -> None:
    analysis = ExperimentAnalysis(usual(tmp_path / "exp").paths.root)
    for trial, result in zip(analysis.trials, ResultGrid(analysis), strict=True):
        assert {tuple(row) for row in shown(trial).rows} <= {tuple(row) for row in shown(result).rows}
        assert ["config/net/width", "8"] in shown(trial).rows
    assert "loss over training_iteration" in [row[0] for row in shown(analysis.trials[0]).rows]


def test_several_metrics_have_a_column_each_and_the_front_comes_first(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", more_objectives=(("size", "min"),))
    for n in range(40):
        trial = made.add(lr=n)
        made.start(trial)
        made.report(trial, [{"loss": float(n), "size": 9.0 if n < 36 else 40.0 - n}])
        made.finish(trial)
    analysis = ExperimentAnalysis(made.paths.root)
    head, *rows = shown(analysis).rows
    assert head[:5] == ["trial", "state", "loss", "size", "curve"]
    assert [row[0][-2:] for row in rows[:6]] == ["00", "36", "37", "38", "39", "01"]
    assert analysis._repr_html_().count("<b>1f3a9") == 5
    assert "5 on the Pareto front" in analysis._repr_html_()
    pytest.importorskip("matplotlib")
    axes = analysis.plot_pareto_front().axes[0]
    assert ("loss" in axes.get_xlabel(), "size" in axes.get_ylabel()) == (True, True)
