from __future__ import annotations

import importlib
import math
import pickle
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e
from hpctune.model.metric_stats import MetricStats, as_number
from hpctune.model.trial import Phase
from hpctune.trial import Trial
from tests.support.output_support import Recorder, usual


def expected(values: Sequence[float]) -> dict[str, float]:
    return {
        "max": max(values),
        "min": min(values),
        "avg": statistics.fmean(values),
        "last": values[-1],
        "last-5-avg": statistics.fmean(values[-5:]),
        "last-10-avg": statistics.fmean(values[-10:]),
    }


def test_attributes_carry_ray_tunes_names(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    trial = made.view("1f3a9_00000")
    assert (str(trial), trial.trial_id, trial.trainable_name) == ("train_1f3a9_00000", "1f3a9_00000", "train")
    assert trial.config == trial.evaluated_params == {"lr": 0.1, "net": {"width": 8}}
    assert trial.local_path == trial.path == trial.logdir == str(tmp_path / "exp" / trial.relative_logdir)
    assert (trial.local_experiment_path, trial.experiment_dir_name) == (str(tmp_path / "exp"), "exp")
    assert trial.custom_trial_name is None
    assert trial.is_finished()
    assert trial.last_result["loss"] == 1.0
    assert trial.placement_group_factory.bundles == [{"CPU": 1.0, "GPU": 0.0}]


def test_status_is_in_ray_tunes_words(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    added = made.add(lr=1.0)
    made.record(e.SubmitRequested(added, 1))
    words = [made.view(i).status for i in made.state.trials]
    assert words == ["TERMINATED", "TERMINATED", "ERROR", "RUNNING", "PENDING", "PENDING"]
    assert made.state.trials[added].phase is Phase.SUBMITTING
    assert Trial.TERMINATED == "TERMINATED"


def test_statistics_follow_the_value(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp")
    trial_id = made.add(lr=0.1)
    view = made.view(trial_id)
    made.start(trial_id)
    losses = [5.0, 3.0, 4.0, 1.0, 2.0, 8.0, 7.0, 9.0, 2.5, 3.5, 6.0, 6.5]
    for loss in losses:
        made.report(trial_id, [{"loss": loss, "text": "x", "nested": {"a": -loss}, "none": None}])
        view.value = made.state.trials[trial_id]
        view.value = made.state.trials[trial_id]  # the same news twice counts once
    analysis = view.metric_analysis
    assert analysis["loss"] == pytest.approx(expected(losses))
    assert analysis["nested/a"] == pytest.approx(expected([-x for x in losses]))
    assert {"text", "none", "config/lr", "timestamp"}.isdisjoint(analysis)
    assert list(view.metric_n_steps["loss"]["5"]) == losses[-5:]
    fresh = made.view(trial_id)  # a view that saw nothing reads the journal
    assert fresh.metric_analysis["loss"] == pytest.approx(expected(losses))


def test_statistics_start_over_with_the_trial(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    view = made.view("1f3a9_00002")
    assert math.isnan(view.metric_analysis["loss"]["last"])
    made.record(e.TrialReopened("1f3a9_00002", restart=True))
    view.value = made.state.trials["1f3a9_00002"]
    assert view.metric_analysis == {}
    assert not view.has_reported_at_least_once


def test_extremes_pass_over_nan_and_averages_do_not() -> None:
    stats = MetricStats([{"a": math.nan}, {"a": 2.0}, {"a": math.nan}, {"a": 1.0}])
    found = stats.get("a")
    assert found is not None
    assert (found["max"], found["min"], found["last"]) == (2.0, 1.0, 1.0)
    assert math.isnan(found["avg"])
    assert stats.get("b") is None


def test_numbers_of_every_library_count() -> None:
    np = importlib.import_module("numpy")
    values: list[Any] = [np.float32(1.5), np.int64(3), True, 10**400, -(10**400)]
    assert [as_number(v) for v in values] == [1.5, 3.0, 1.0, math.inf, -math.inf]
    assert [as_number(v) for v in ("1", None, [1], 1j, {})] == [None] * 5


def test_failures_show(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    failed, fine = made.view("1f3a9_00002"), made.view("1f3a9_00000")
    assert failed.num_failures == 1
    assert failed.error_file == str(failed.paths.error)
    assert str(failed.get_error()).endswith("ValueError: no memory")
    assert (fine.num_failures, fine.error_file, fine.get_error()) == (0, None, None)


def test_views_of_one_trial_are_equal(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    one, other = made.view("1f3a9_00000"), made.view("1f3a9_00000")
    assert one == other
    assert len({one, other, made.view("1f3a9_00001")}) == 2
    assert pickle.loads(pickle.dumps(one)) == one


def test_what_is_taken_from_a_view_is_the_takers(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    trial = made.view("1f3a9_00000")
    trial.config["lr"] = 7
    trial.last_result.clear()
    assert trial.config["lr"] == 0.1
    assert trial.last_result


def test_stop_criteria(tmp_path: Path) -> None:
    made = Recorder(tmp_path / "exp", criteria={"training_iteration": 3, "eval/acc": 0.9})
    trial = made.view(made.add(lr=0.1))
    assert not trial.should_stop({"training_iteration": 2, "eval": {"acc": 0.5}})
    assert trial.should_stop({"training_iteration": 2, "eval": {"acc": 0.95}})
    assert trial.should_stop({"done": True})


def test_newest_checkpoint(tmp_path: Path) -> None:
    made = usual(tmp_path / "exp")
    trial = made.view("1f3a9_00000")
    assert trial.checkpoint is not None
    assert trial.checkpoint.path == str(trial.paths.checkpoint("checkpoint_000002"))
    assert made.view("1f3a9_00004").checkpoint is None
