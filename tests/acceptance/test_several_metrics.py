"""A search with several metrics, as a user makes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpctune as tune
from hpctune.analysis.followed import FollowedExperiment
from hpctune.analysis.page.data import experiment_data
from hpctune.analysis.pictures import pareto
from hpctune.cli.main import cli
from hpctune.cli.top import read
from hpctune.errors import MetricError, ResumeError, UsageError
from hpctune.schedulers import ASHAScheduler
from hpctune.search.gp import GPSearch
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths


def train(config: dict[str, Any]) -> None:
    for step in (1, 2, 3):
        tune.report({"loss": (config["x"] - 1) ** 2 + 1 / step, "latency": 10 - 2 * config["x"], "note": "text"})


def hpctune(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def fit(folder: Path, **options: Any) -> tune.ResultGrid:
    settings: dict[str, Any] = {"metric": ["loss", "latency"], "mode": "min", "num_samples": 8} | options
    return tune.Tuner(
        train,
        param_space={"x": tune.uniform(-3, 3)},
        tune_config=tune.TuneConfig(**settings),
        run_config=tune.RunConfig(name="two", storage_path=str(folder), verbose=settings.pop("verbose", 0)),
        cluster="debug",
    ).fit()


def test_the_best_is_a_front(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    grid = fit(tmp_path, search_alg="optuna")
    found = grid.get_best_results()
    points = [(r.metrics["loss"], r.metrics["latency"]) for r in found]
    every = [(r.metrics["loss"], r.metrics["latency"]) for r in grid]
    assert points == sorted(p for p in every if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in every))
    with pytest.raises(UsageError, match=r"there is a Pareto front.*get_best_results\(\).*metric='loss', mode='min'"):
        grid.get_best_result()
    assert grid.get_best_result("loss", "min").metrics["loss"] == min(every)[0]
    analysis = tune.ExperimentAnalysis(tmp_path / "two")
    assert [t.last_result["loss"] for t in analysis.best_trials] == [p[0] for p in points]
    with pytest.raises(UsageError, match="Pareto front"):
        _ = analysis.best_config
    assert len(analysis.get_best_trials("loss", "min")) == 1
    with pytest.raises(MetricError, match="note"):
        analysis.get_best_trials(["loss", "note"], "min")

    said = hpctune("best", tmp_path / "two")
    assert said.startswith(f"Pareto front of min loss, min latency: {len(points)} trials of 8\n")
    data = json.loads(hpctune("best", tmp_path / "two", "--json"))
    assert [(d["values"]["loss"], d["values"]["latency"]) for d in data] == points
    assert len(hpctune("best", tmp_path / "two", "--args", "-n", 2).splitlines()) == 2
    assert hpctune("best", tmp_path / "two", "--metric", "loss", "--mode", "min").startswith("loss = ")
    other = hpctune("best", tmp_path / "two", "--metric", "loss,latency", "--mode", "max,min")
    assert other.startswith("Pareto front of max loss, min latency: ")
    with pytest.raises(UsageError, match="--scope all is for one metric"):
        hpctune("best", tmp_path / "two", "--scope", "all")
    assert f"front     {len(points)} trials on the Pareto front; loss=" in hpctune("status", tmp_path / "two")

    page = experiment_data(tmp_path / "two")
    assert [m["name"] for m in page["metrics"]] == ["loss", "latency"]
    assert page["modes"] == {"loss": "min", "latency": "min"}
    picture = pareto.pareto(analysis.plot_data(), ["loss", "latency"])
    assert picture.modes == ("min", "min")
    assert len(picture.front) == len(points)


def test_the_searcher_learns_all_metrics(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    searcher = tune.search.optuna.OptunaSearch(seed=1)
    fit(tmp_path, mode=["min", "max"], search_alg=searcher)
    assert [direction.name for direction in searcher.study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert all(len(trial.values) == 2 for trial in searcher.study.trials)


def test_searchers_of_one_metric(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"GPSearch optimizes one metric.*loss, latency. Use OptunaSearch"):
        fit(tmp_path, search_alg="gp")
    assert not (tmp_path / "two").exists()
    grid = fit(tmp_path, search_alg=GPSearch(metric="latency", mode="min", n_initial_points=3), num_samples=4)
    assert len(grid.get_best_results()) >= 1


@pytest.mark.parametrize(
    ("make", "used"),
    [
        (lambda: ASHAScheduler(max_t=3), "loss"),
        (lambda: ASHAScheduler(metric="latency", max_t=3), "latency"),
        (lambda: ASHAScheduler(metric="training_iteration", mode="max", max_t=3), "training_iteration"),
    ],
)
def test_a_scheduler_says_which_metric_it_uses(
    tmp_path: Path, make: Callable[[], Any], used: str, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    fit(tmp_path, scheduler=make())
    captured = capsys.readouterr()
    said = caplog.text + captured.err + captured.out
    assert f"compares trials by one metric: {used}, of loss, latency. To choose another one" in said


def test_it_is_resumed_with_the_same_metrics(tmp_path: Path) -> None:
    fit(tmp_path, num_samples=2)
    stored = spec_file.read(ExperimentPaths(tmp_path / "two"))
    assert stored.objectives == (("loss", "min"), ("latency", "min"))
    hpctune("resume", tmp_path / "two")
    tune.run(train, config={"x": tune.uniform(0, 1)}, metric=["loss", "latency"], mode="min", name="two",
             local_dir=str(tmp_path), resume=True, verbose=0, cluster="debug")  # fmt: skip
    with pytest.raises(ResumeError, match="was started with metric='loss, latency'"):
        tune.run(train, config={"x": tune.uniform(0, 1)}, metric=["loss", "note"], mode="min", name="two",
                 local_dir=str(tmp_path), resume=True, verbose=0, cluster="debug")  # fmt: skip


def test_a_program_that_prints_two_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(
        "import sys\nx = float(sys.argv[-1])\nprint(f'loss={(x - 1) ** 2} latency={10 - x}', flush=True)\n"
    )
    Path("search.yaml").write_text(
        "command: python train.py {x}\nparameters: {x: [0, 1, 2, 3]}\ngrid: true\nmetric: [loss, latency]\n"
        f"mode: [min, min]\nname: printed\nstorage_path: {tmp_path}\ncluster: debug\n"
    )
    hpctune("run", "search.yaml")
    data = json.loads(hpctune("best", tmp_path / "printed", "--json"))
    assert [d["values"] for d in data] == [
        {"loss": 0.0, "latency": 9.0}, {"loss": 1.0, "latency": 8.0}, {"loss": 4.0, "latency": 7.0},
    ]  # fmt: skip


def test_the_front_is_confirmed_for_each_metric(tmp_path: Path) -> None:
    grid = fit(tmp_path)
    root = tmp_path / "two"
    front = {trial.trial_id for trial in tune.ExperimentAnalysis(root).best_trials}
    asked = hpctune("confirm", root, "--top", "2", "--seeds", "2")
    assert f"{len(front)} trial" in asked
    lines = [line.split() for line in asked.splitlines() if line.startswith("  ") and " times" in line]
    assert len(lines) == min(2, len(front))
    assert {words[0] for words in lines} <= front
    assert all("latency" in words for words in lines)
    tune.Tuner.restore(str(root), train, cluster="debug").fit()
    shown = hpctune("confirm", root)
    assert shown.count("in the search") == 2
    assert "mean loss" in shown
    assert "mean latency" in shown
    assert "latency" not in hpctune("confirm", root, "--metric", "loss", "--mode", "min")
    assert len(grid) == 8


def test_top_has_a_column_for_each_metric_and_marks_the_front(tmp_path: Path) -> None:
    fit(tmp_path)
    shot = read.take(FollowedExperiment(tmp_path / "two"))
    table = read.trial_table(shot)
    assert table.columns[3:6] == ("loss", "latency", "front")
    front = {trial.trial_id for trial in tune.ExperimentAnalysis(tmp_path / "two").best_trials}
    assert set(table.chosen("front == True", "", False)) == front
    assert {name for name in table.rows if table.cells(name)[5] == "*"} == front
