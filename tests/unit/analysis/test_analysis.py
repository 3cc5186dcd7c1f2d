from __future__ import annotations

import importlib
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from hpctune.analysis import ExperimentAnalysis, Result, ResultGrid
from hpctune.errors import MetricError, NotAnExperimentError, TuneError, UsageError
from hpctune.storage import journal
from tests.support.output_support import Recorder, usual


def curves(root: Path, *losses: list[float], **spec: Any) -> ExperimentAnalysis:
    made = Recorder(root, **spec)
    for n, values in enumerate(losses):
        trial_id = made.add(n=n)
        made.start(trial_id)
        made.report(trial_id, [{"loss": v} for v in values])
        made.finish(trial_id)
    return ExperimentAnalysis(root)


def test_numbers_agree_with_the_journal(tmp_path: Path) -> None:
    pandas = importlib.import_module("pandas")
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    plain: dict[str, list[Any]] = {}
    for recorded in journal.read(tmp_path / "exp" / "journal"):
        if type(recorded.event).__name__ == "ResultReported":
            plain.setdefault(recorded.event.run.trial_id, []).append(recorded.event.row)
    frames = analysis.trial_dataframes
    assert [len(frame) for frame in frames.values()] == [2, 2, 1, 1, 0]
    for trial_id, rows in plain.items():
        pandas.testing.assert_series_equal(
            frames[trial_id]["loss"], pandas.Series([r["loss"] for r in rows], name="loss")
        )
        last = {key: value for key, value in analysis.results[trial_id].items() if key != "done"}
        assert last == {key: value for key, value in rows[-1].items() if key != "done"} or math.isnan(rows[-1]["loss"])
    trial = analysis.trials[0]
    assert frames[trial.local_path] is frames[trial.trial_id]
    assert frames[trial.trial_id]["eval/acc"].tolist() == [0.1, 0.6]
    assert frames[trial.trial_id]["config/net/width"].tolist() == [8, 8]


def test_best_by_the_experiments_own_metric(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    assert analysis.best_trial is not None
    assert analysis.best_trial.trial_id == "1f3a9_00000"
    assert analysis.best_config == {"lr": 0.1, "net": {"width": 8}}
    assert analysis.best_logdir == analysis.best_trial.local_path
    assert analysis.best_result is not None
    assert analysis.best_result["loss"] == 1.0
    assert analysis.get_best_config("eval/acc", "max") == {"lr": 0.1, "net": {"width": 8}}
    assert analysis.get_best_config("eval/acc", "max", scope="all") == {"lr": 0.01, "net": {"width": 8}}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("scope", ["last", "avg", "last-5-avg", "last-10-avg", "all"])
def test_scopes_against_plain_arithmetic(tmp_path: Path, scope: str, mode: str) -> None:
    losses = [[5.0, 1.0, 9.0, 2.0, 2.5, 3.0, 4.0], [0.5, 8.0, 8.0, 8.0, 8.0, 8.0, 1.0], [3.0] * 12, [2.0, 40.0]]
    analysis = curves(tmp_path / "exp", *losses)
    pick = min if mode == "min" else max
    values = {
        "last": [v[-1] for v in losses],
        "avg": [statistics.fmean(v) for v in losses],
        "last-5-avg": [statistics.fmean(v[-5:]) for v in losses],
        "last-10-avg": [statistics.fmean(v[-10:]) for v in losses],
        "all": [pick(v) for v in losses],
    }[scope]
    best = analysis.get_best_trial("loss", mode, scope)
    assert best is not None
    assert best.value.index == values.index(pick(values))


def test_nan_and_infinity_never_win_unless_asked_for(tmp_path: Path) -> None:
    analysis = curves(tmp_path / "exp", [math.nan], [-math.inf], [2.0], [3.0])
    best = analysis.get_best_trial("loss", "min")
    assert best is not None
    assert best.value.index == 2
    best = analysis.get_best_trial("loss", "min", filter_nan_and_inf=False)
    assert best is not None
    assert best.value.index == 1
    only_nan = curves(tmp_path / "nan", [math.nan], [math.nan])
    assert only_nan.best_trial is None
    assert only_nan.best_config is None
    with pytest.raises(RuntimeError, match="'loss'"):
        ResultGrid(only_nan).get_best_result()


def test_a_metric_that_is_not_in_the_last_row_counts_with_its_last_value(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    for n, values in enumerate(([{"loss": 1.0}, {"other": 1}], [{"loss": 2.0}])):
        trial_id = made.add(n=n)
        made.start(trial_id)
        made.report(trial_id, values)
    best = ExperimentAnalysis(tmp_path / "exp").best_trial
    assert best is not None
    assert best.value.index == 0


def test_errors_name_what_was_asked_for_and_what_there_is(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    for ask in (
        lambda: analysis.get_best_trial("accuracy", "max"),
        lambda: analysis.dataframe("accuracy", "max"),
        lambda: analysis.get_best_checkpoint(analysis.trials[0], "accuracy", "max"),
    ):
        with pytest.raises(MetricError, match=r"'accuracy' was never reported.*loss, eval/acc, training_iteration"):
            ask()
    with pytest.raises(UsageError, match="scope must be one of"):
        analysis.get_best_trial(scope="first")
    with pytest.raises(ValueError, match="'min' or 'max'"):
        analysis.get_best_trial("loss", "best")
    with pytest.raises(UsageError, match="needs mode"):
        analysis.dataframe("loss")
    with pytest.raises(NotAnExperimentError):
        ExperimentAnalysis(tmp_path / "exp" / "jobs")
    bare = curves(tmp_path / "bare", [1.0], metric=None, mode=None)
    with pytest.raises(UsageError, match="needs a metric"):
        _ = bare.best_trial


def test_nothing_reported_yet(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    made.add(lr=1)
    analysis = ExperimentAnalysis(tmp_path / "exp")
    assert (analysis.best_trial, analysis.best_config, analysis.best_result) == (None, None, None)
    assert len(analysis.dataframe()) == 0
    assert analysis.results_df.index.tolist() == ["1f3a9_00000"]


def test_dataframe_with_and_without_a_metric(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    last, best = analysis.dataframe(), analysis.dataframe("loss", "min")
    assert last["loss"].tolist()[:2] == [1.0, 2.0]
    assert last["config/lr"].tolist() == [0.1, 0.01, 0.5, 0.2]
    assert best["loss"].tolist() == [1.0, 0.25, 5.0]
    assert best["training_iteration"].tolist() == [2, 1, 1]
    assert best["logdir"].tolist()[0] == analysis.trials[0].local_path
    assert analysis.results_df.loc["1f3a9_00001", "loss"] == 2.0
    assert analysis.best_result_df is not None
    assert analysis.best_result_df.index.tolist() == ["1f3a9_00000"]
    assert analysis.best_dataframe is not None
    assert analysis.best_dataframe["loss"].tolist() == [3.0, 1.0]


def test_configs(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    assert analysis.get_all_configs()["1f3a9_00002"]["lr"] == 0.5
    flat = analysis.get_all_configs(prefix=True)
    assert flat[analysis.trials[2].local_path] == {"config/lr": 0.5, "config/net/width": 8}
    with pytest.raises(KeyError):
        flat["nowhere"]


def test_checkpoints(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    second = analysis.trials[1]
    first, newest = (str(second.paths.checkpoint(f"checkpoint_{n:06d}")) for n in (1, 2))
    assert analysis.get_trial_checkpoints_paths(second, "loss") == [(first, 0.25), (newest, 2.0)]
    assert analysis.get_best_checkpoint(second, return_path=True) == first
    assert analysis.get_best_checkpoint(second.local_path, "eval/acc", "min", return_path=True) == newest
    last = analysis.get_last_checkpoint(second)
    assert last is not None
    assert last.path == newest
    assert analysis.get_last_checkpoint() is not None
    assert analysis.best_checkpoint is not None
    assert analysis.best_checkpoint.path.endswith("checkpoint_000002")
    assert analysis.get_best_checkpoint(analysis.trials[4], "loss", "min") is None
    result = ResultGrid(analysis)[1]
    assert result.best_checkpoints is not None
    assert [(c.path, m["loss"]) for c, m in result.best_checkpoints] == [(first, 0.25), (newest, 2.0)]
    chosen = result.get_best_checkpoint("loss", "min")
    assert chosen is not None
    assert chosen.path == first


def test_reading_changes_nothing(tmp_path: Path) -> None:
    usual(tmp_path / "exp")

    def everything() -> dict[str, Any]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted((tmp_path / "exp").rglob("*"))}

    before = everything()
    analysis = ExperimentAnalysis(tmp_path / "exp" / "experiment.json")
    analysis.dataframe("loss", "min")
    analysis.fetch_trial_dataframes()
    ResultGrid(analysis).get_dataframe()
    assert everything() == before


def test_several_experiments_together(tmp_path: Path) -> None:
    curves(tmp_path / "a", [3.0], [2.0])
    made = Recorder(tmp_path / "b")
    made.spec  # noqa: B018
    analysis = ExperimentAnalysis([tmp_path / "a", tmp_path / "b"])
    assert len(analysis.trials) == 2
    assert analysis.best_config == {"n": 1}
    around = ExperimentAnalysis(tmp_path)
    assert (len(around.trials), around.best_config) == (2, {"n": 1}), "a directory of experiments means all of them"
    with pytest.raises(UsageError, match="trials for one experiment only"):
        ExperimentAnalysis(tmp_path, trials=analysis.trials)
    (tmp_path / "none").mkdir()
    with pytest.raises(NotAnExperimentError, match="is not an experiment directory"):
        ExperimentAnalysis(tmp_path / "none")


def test_trials_of_a_driver_need_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.analysis import load

    made = usual(tmp_path / "exp")
    trials = [made.view(i) for i in made.state.trials]
    monkeypatch.setattr(load, "read_experiment", lambda *a, **k: pytest.fail("read"))
    analysis = ExperimentAnalysis(tmp_path / "exp", trials=trials, default_metric="eval/acc", default_mode="max")
    assert analysis.best_trial == trials[0]
    monkeypatch.undo()
    assert len(analysis.rows_of(trials[1])) == 2


def test_run_data(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    analysis = ExperimentAnalysis(tmp_path / "exp")
    assert analysis.stats()["start_time"] == made.spec.created_at
    assert analysis.runner_data()["name"] == "exp"
    assert "5 trials" in repr(analysis)


def test_result_grid(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    grid = ResultGrid(ExperimentAnalysis(tmp_path / "exp"))
    assert len(grid) == 5
    assert [r.config["lr"] for r in grid if r.config] == [0.1, 0.01, 0.5, 0.2, 0.3]
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    assert isinstance(grid.errors[0], TuneError)
    assert "no memory" in str(grid.errors[0])
    best = grid.get_best_result()
    assert best.metrics is not None
    assert best.metrics["loss"] == 1.0
    assert best.log_dir == Path(best.path)
    assert best.metrics_dataframe is not None
    assert len(best.metrics_dataframe) == 2
    assert grid[2].error is not None
    assert grid[-1].metrics is None
    assert "5 trials" in repr(grid)
    assert "loss" in repr(best)
    with pytest.raises(IndexError):
        grid[5]


def test_result_grid_of_one_needs_no_metric(tmp_path: Path) -> None:
    one = ResultGrid(curves(tmp_path / "one", [1.0], metric=None, mode=None))
    assert one.get_best_result().config == {"n": 0}
    two = ResultGrid(curves(tmp_path / "two", [1.0], [2.0], metric=None, mode=None))
    with pytest.raises(ValueError, match="needs metric and mode"):
        two.get_best_result()
    assert two.get_best_result("loss", "max").config == {"n": 1}


def test_result_from_a_trials_directory(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    trial = made.view("1f3a9_00001")
    result = Result.from_path(trial.local_path)
    assert result.config == trial.config
    assert result.metrics_dataframe is not None
    assert result.metrics_dataframe["loss"].tolist() == [0.25, 2.0]
    with pytest.raises(UsageError, match="not the directory of any trial"):
        Result.from_path(tmp_path / "exp" / "journal")


def test_an_experiment_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    usual(tmp_path / "results" / "größe 1")
    (tmp_path / "größe 1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(ExperimentAnalysis("größe 1").trials) == 5, "a folder of that name does not hide it"
    assert len(ExperimentAnalysis(["größe 1", tmp_path / "results"]).trials) == 10
    with pytest.raises(NotAnExperimentError, match=r"There is no experiment 'größe'.*Did you mean 'größe 1'"):
        ExperimentAnalysis("größe")
    with pytest.raises(NotAnExperimentError, match="There is no directory"):
        ExperimentAnalysis("nowhere/x")
