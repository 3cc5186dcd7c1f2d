"""Experiments as Optuna studies, read back by Optuna."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import hpctune as tune
from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.objectives import objectives
from hpctune.errors import UsageError
from hpctune.interop.export.storages import open_storage
from hpctune.interop.export.study import StudyExport, Written, study_names
from hpctune.space.describe import described
from tests.support.output_support import Recorder, usual
from tests.support.picture_support import search

LOSS = [("loss", "min")]


def export(root: Path, target: str, **options: Any) -> Written:
    loaded = LoadedExperiment(root)
    storage, _ = open_storage(target)
    goals = options.pop("goals", None) or objectives(loaded, None, None)
    return StudyExport(storage, options.pop("name", root.name), **options).write(loaded, goals, lambda done, of: None)


def study(target: str, name: str = "exp") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(target)[0])


@pytest.mark.parametrize("ending", ["db", "log"])
def test_every_trial_is_there_once(tmp_path: Path, ending: str) -> None:
    target = str(tmp_path / f"study.{ending}")
    usual(tmp_path / "exp")
    assert export(tmp_path / "exp", target) == Written(added=5)
    assert export(tmp_path / "exp", target) == Written(same=5)
    found = study(target)
    assert [trial.state.name for trial in found.trials] == ["COMPLETE", "COMPLETE", "FAIL", "RUNNING", "WAITING"]
    assert found.best_trial.user_attrs["trial_id"] == "1f3a9_00000"
    assert found.metric_names == ["loss"]
    assert found.direction is optuna.study.StudyDirection.MINIMIZE
    first, _, third, fourth, _ = found.trials
    assert (first.value, first.intermediate_values) == (1.0, {1: 3.0, 2: 1.0})
    assert (first.params, first.user_attrs["config/net/width"]) == ({"lr": 0.1}, 8)
    assert first.distributions == {"lr": FloatDistribution(0.01, 0.5)}
    assert first.user_attrs["eval/acc"] == 0.6
    assert first.user_attrs["state"] == "completed"
    assert (first.duration and first.duration.total_seconds()) == 4.0
    assert "no memory" in third.user_attrs["error"]
    assert math.isnan(third.intermediate_values[1])
    assert (fourth.user_attrs["node"], fourth.user_attrs["job_id"]) == ("node7", "103")


def test_what_goes_on_is_brought_up_to_date(tmp_path: Path) -> None:
    target = str(tmp_path / "study.db")
    made = usual(tmp_path / "exp")
    export(tmp_path / "exp", target)
    made.report("1f3a9_00003", [{"loss": 0.5}])
    made.finish("1f3a9_00003")
    new = made.add(lr=0.7, net={"width": 8})
    assert export(tmp_path / "exp", target) == Written(added=1, changed=1, same=4)
    found = study(target)
    assert len(found.trials) == 6
    assert (found.best_value, found.best_trial.number) == (0.5, 3)
    assert found.best_trial.intermediate_values == {1: 5.0, 2: 0.5}
    assert found.trials[5].user_attrs["trial_id"] == new


def test_stopped_early_is_pruned(tmp_path: Path) -> None:
    target = str(tmp_path / "study.db")
    search(tmp_path / "exp", trials=20)
    export(tmp_path / "exp", target)
    pruned = [t for t in study(target).trials if t.state is TrialState.PRUNED]
    assert pruned
    assert all(t.value == t.intermediate_values[max(t.intermediate_values)] for t in pruned)


def test_finished_trials_that_go_on_need_force(tmp_path: Path) -> None:
    target = str(tmp_path / "study.db")
    made = Recorder(tmp_path / "exp")
    trial = made.add(lr=0.1)
    made.start(trial)
    made.report(trial, [{"loss": 1.0}])
    made.fail(trial)
    export(tmp_path / "exp", target)
    from hpctune.model import events as e

    made.record(e.TrialReopened(trial, restart=False))
    made.start(trial)
    made.report(trial, [{"loss": 0.5}])
    made.finish(trial)
    with pytest.raises(UsageError, match="--force"):
        export(tmp_path / "exp", target)
    assert [t.state for t in study(target).trials] == [TrialState.FAIL]
    assert export(tmp_path / "exp", target, force=True) == Written(added=1, replaced=True)
    assert [(t.state, t.value) for t in study(target).trials] == [(TrialState.COMPLETE, 0.5)]
    study(target).add_trial(optuna.trial.create_trial(value=3.0))
    made.record(e.TrialReopened(trial, restart=False))
    with pytest.raises(UsageError, match="1 trials of others"):
        export(tmp_path / "exp", target, force=True)


def test_trials_of_others_stay(tmp_path: Path) -> None:
    target = str(tmp_path / "study.db")
    optuna.create_study(storage=f"sqlite:///{target}", study_name="exp").add_trial(optuna.trial.create_trial(value=3.0))
    usual(tmp_path / "exp")
    assert export(tmp_path / "exp", target).added == 5
    assert export(tmp_path / "exp", target).same == 5
    assert [t.value for t in study(target).trials[:2]] == [3.0, 1.0]


def test_a_new_value_of_a_choice_needs_a_new_study(tmp_path: Path) -> None:
    target, made = str(tmp_path / "study.db"), Recorder(tmp_path / "exp")
    for act in ("relu", "tanh"):
        trial = made.add(act=act)
        made.start(trial)
        made.report(trial, [{"loss": 1.0}])
        made.finish(trial)
    export(tmp_path / "exp", target)
    made.add(act="gelu")
    assert export(tmp_path / "exp", target, force=True) == Written(added=3, replaced=True)
    assert study(target).trials[0].distributions["act"] == CategoricalDistribution(("relu", "tanh", "gelu"))


def test_distributions_are_those_of_the_search_space(tmp_path: Path) -> None:
    space = {
        "lr": tune.loguniform(1e-4, 1),
        "units": tune.qrandint(8, 64, 8),
        "drop": tune.quniform(0, 0.5, 0.25),
        "opt": tune.choice([{"name": "sgd", "momentum": tune.uniform(0, 1)}, {"name": "adam"}]),
        "act": tune.grid_search(["relu", ("gelu", 2)]),
        "noise": tune.randn(0, 1),
        "twice": tune.sample_from(lambda spec: 2),
        "depth": tune.randint(1, 5),
        "type": "resnet",
    }
    made = Recorder(tmp_path / "exp", origin={"search_space": described(space)})
    made.add(lr=0.1, units=16, drop=0.25, opt={"name": "adam"}, act="relu", noise=-1.5, twice=2, depth=9, type="resnet")
    made.add(lr=0.1, units=12, drop=0.0, opt={"name": "sgd", "momentum": 0.5}, act=("gelu", 2), noise=0.5, twice=5,
             depth=1, type="resnet")  # fmt: skip
    target = str(tmp_path / "study.db")
    export(tmp_path / "exp", target, goals=LOSS)
    first, second = study(target).trials
    assert second.distributions == {
        "lr": FloatDistribution(1e-4, 1, log=True),
        "units": IntDistribution(8, 64),  # 12 is no multiple of 8
        "drop": FloatDistribution(0, 0.5, step=0.25),
        "opt/name": CategoricalDistribution(("adam", "sgd")),
        "opt/momentum": FloatDistribution(0, 1),
        "act": CategoricalDistribution(("relu", '["gelu", 2]')),
        "noise": FloatDistribution(-1.5, 0.5),
        "twice": IntDistribution(2, 5),
        "depth": IntDistribution(1, 9),
    }
    assert "opt/momentum" not in first.params
    assert first.user_attrs["config/type"] == "resnet"


def test_several_metrics(tmp_path: Path) -> None:
    target = str(tmp_path / "study.db")
    search(tmp_path / "exp", trials=10)
    goals = objectives(LoadedExperiment(tmp_path / "exp"), "loss,latency", "min")
    export(tmp_path / "exp", target, goals=goals)
    found = study(target)
    assert found.metric_names == ["loss", "latency"]
    assert found.best_trials
    assert not any(trial.intermediate_values for trial in found.trials)
    with pytest.raises(UsageError, match="which do not fit loss min"):
        export(tmp_path / "exp", target)


@pytest.mark.parametrize(
    ("metric", "mode", "says"),
    [
        ("nothing", "min", "nothing"),
        ("latency", None, "Which values of 'latency' are better"),
        ("loss,latency", "min,max,min", "has 3 modes for 2 metrics"),
        ("loss", "least", "least"),
    ],
)
def test_metrics_that_are_not_there(tmp_path: Path, metric: str, mode: str | None, says: str) -> None:
    usual(tmp_path / "exp")
    with pytest.raises(UsageError, match=says):
        objectives(LoadedExperiment(tmp_path / "exp"), metric, mode)


def test_no_metric(tmp_path: Path) -> None:
    search(tmp_path / "exp", trials=3, metric=None)
    with pytest.raises(UsageError, match=r"Give one: --metric NAME --mode min\|max\. Reported: loss"):
        objectives(LoadedExperiment(tmp_path / "exp"), None, None)


def test_targets_that_are_no_storage(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("my notes")
    with pytest.raises(UsageError, match="exists and is not an SQLite database"):
        open_storage(str(tmp_path / "notes.db"))
    (tmp_path / "notes.log").write_text("my notes")
    with pytest.raises(UsageError, match="exists and is not an Optuna journal"):
        open_storage(str(tmp_path / "notes.log"))
    with pytest.raises(UsageError, match="There is no folder"):
        open_storage(str(tmp_path / "no" / "study.db"))
    with pytest.raises(UsageError, match="Optuna cannot open the storage nothing://here"):
        open_storage("nothing://here")


def test_names_of_studies(tmp_path: Path) -> None:
    for folder in ("a/exp", "b/exp", "b/other"):
        Recorder(tmp_path / folder)
    loaded = [LoadedExperiment(tmp_path / folder) for folder in ("a/exp", "b/exp", "b/other")]
    assert study_names(loaded) == [str(tmp_path / "a/exp"), str(tmp_path / "b/exp"), "other"]
