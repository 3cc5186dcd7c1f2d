"""Stoppers, and what a user's stop= is taken to mean."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from hpctune.errors import MetricError, UsageError
from hpctune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TargetStopper,
    TimeoutStopper,
    TrialPlateauStopper,
    TrialTargetStopper,
    reached,
    split_stop,
)


def answers(stopper: Stopper, values: list[float], trial: str = "t") -> list[bool]:
    return [stopper(trial, {"m": value}) for value in values]


class Mine(Stopper):
    """What a user may write."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen.append(trial_id)
        return False

    def stop_all(self) -> bool:
        return len(self.seen) > 2


def test_the_base_class_is_abstract_and_keeps_the_state_of_subclasses() -> None:
    with pytest.raises(TypeError):
        Stopper()
    one, two = Mine(), Mine()
    one.tick(5.0)
    answers(one, [1, 2])
    state = one.get_state()
    answers(one, [3])
    two.set_state(state)
    assert (two.seen, two.stop_all(), one.stop_all()) == (["t", "t"], False, True)


def test_noop_and_function() -> None:
    assert answers(NoopStopper(), [1]) == [False]
    assert not NoopStopper().stop_all()
    stopper = FunctionStopper(lambda trial_id, result: result["m"] > 1 and trial_id == "t")
    assert (answers(stopper, [1, 2]), stopper.stop_all()) == ([False, True], False)
    assert FunctionStopper.is_valid_function(lambda a, b: True)
    assert not FunctionStopper.is_valid_function(lambda a: True)
    assert not FunctionStopper.is_valid_function(5)
    assert not FunctionStopper.is_valid_function(dict)
    with pytest.raises(UsageError, match=r"\(trial_id, result\)"):
        FunctionStopper(lambda result: True)


def test_something_with_stop_all_that_is_no_stopper_is_refused() -> None:
    class Almost:
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return False

    with pytest.raises(UsageError, match="Derive it from"):
        split_stop(Almost())


def test_maximum_iteration_counts_each_trial() -> None:
    stopper = MaximumIterationStopper(2)
    assert answers(stopper, [0], "a") + answers(stopper, [0, 0], "b") == [False, False, True]
    resumed = MaximumIterationStopper(3)
    resumed.set_state(json.loads(json.dumps(stopper.get_state())))
    assert answers(resumed, [0, 0], "a") == [False, True]
    for bad in (0, 1.5, True):
        with pytest.raises(UsageError, match="max_iter"):
            MaximumIterationStopper(bad)


def test_experiment_plateau() -> None:
    stopper = ExperimentPlateauStopper("m", std=0.1, top=3, mode="min")
    assert answers(stopper, [9, 1.0, 1.1]) == [False] * 3
    assert not stopper.stop_all()
    assert answers(stopper, [float("nan"), float("-inf"), 1.05]) == [False, False, True]
    assert stopper.stop_all()
    assert answers(ExperimentPlateauStopper("m", std=0.1, top=2, mode="max"), [1, 9, 9, 12]) == [
        False,
        False,
        True,
        False,
    ]


def test_experiment_plateau_waits_with_patience_and_resumes() -> None:
    stopper = ExperimentPlateauStopper("m", top=2, patience=3)
    assert answers(stopper, [1, 1, 1]) == [False] * 3
    resumed = ExperimentPlateauStopper("m", top=2, patience=3)
    resumed.set_state(json.loads(json.dumps(stopper.get_state())))
    assert answers(resumed, [5]) == [True]
    assert answers(stopper, [0, 0, 0, 0]) == [False, False, False, True]


@pytest.mark.parametrize(
    "options", [{"mode": "x"}, {"top": 1}, {"top": 2.0}, {"std": 0}, {"std": "1"}, {"patience": -1}]
)
def test_experiment_plateau_checks_its_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ExperimentPlateauStopper("m", **options)


def test_trial_plateau_looks_at_the_last_results_of_each_trial() -> None:
    stopper = TrialPlateauStopper("m", std=0.1, num_results=3, grace_period=4)
    assert answers(stopper, [1, 1, 1], "a") == [False] * 3
    assert answers(stopper, [9], "b") == [False]
    assert answers(stopper, [1], "a") == [True]
    assert answers(stopper, [1, 1, 1, 1], "b") == [False, False, True, True]
    assert not stopper.stop_all()
    resumed = TrialPlateauStopper("m", std=0.1, num_results=3, grace_period=4)
    resumed.set_state(json.loads(json.dumps(stopper.get_state())))
    assert answers(resumed, [5, 5, 5], "b") == [False, False, True]


def test_trial_plateau_spread_is_that_of_the_population() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    below, above = float(np.std(values)) - 1e-9, float(np.std(values)) + 1e-9
    assert answers(TrialPlateauStopper("m", std=below), values)[-1] is False
    assert answers(TrialPlateauStopper("m", std=above), values)[-1] is True


def test_trial_plateau_needs_num_results() -> None:
    stopper = TrialPlateauStopper("m", std=0.1, num_results=3, grace_period=1)
    assert answers(stopper, [1, 1, 1]) == [False, False, True]


def test_trial_plateau_spares_trials_that_are_not_good_enough() -> None:
    for mode, good, bad in (("min", 0.5, 1.5), ("max", 1.5, 0.5)):
        stopper = TrialPlateauStopper("m", num_results=2, grace_period=2, metric_threshold=1.0, mode=mode)
        assert answers(stopper, [bad, bad], "a") == [False, False]
        assert answers(stopper, [good, good], "b") == [False, True]
    with pytest.raises(UsageError, match="mode"):
        TrialPlateauStopper("m", metric_threshold=0.0)
    with pytest.raises(UsageError, match="num_results"):
        TrialPlateauStopper("m", num_results=0)


@pytest.mark.parametrize("stopper", [ExperimentPlateauStopper("loss"), TrialPlateauStopper("loss")])
def test_plateaus_name_a_metric_that_is_missing(stopper: Stopper) -> None:
    with pytest.raises(MetricError, match=r"'loss' was never reported. Reported were: m"):
        stopper("t", {"m": 1})


def test_timeout_counts_the_time_between_ticks() -> None:
    stopper = TimeoutStopper(timedelta(seconds=10), clock=lambda: pytest.fail("ticked, so the clock is not asked"))
    for now in (1000.0, 1004.0, 1003.0, 1008.9):
        stopper.tick(now)
        assert not stopper.stop_all()
    assert stopper.spent_s == pytest.approx(9.9)
    stopper.tick(1009.0)
    assert stopper.stop_all()
    assert answers(stopper, [1]) == [False]


def test_timeout_counts_across_resumes_but_not_the_time_between() -> None:
    first = TimeoutStopper(10)
    first.tick(0.0)
    first.tick(6.0)
    by_state, by_pickle = TimeoutStopper(10), pickle.loads(pickle.dumps(first))
    by_state.set_state(json.loads(json.dumps(first.get_state())))
    for resumed in (by_state, by_pickle):
        resumed.tick(5000.0)
        assert resumed.spent_s == 6.0
        resumed.tick(5003.0)
        assert not resumed.stop_all()
        resumed.tick(5004.0)
        assert resumed.stop_all()
    longer = TimeoutStopper(20)
    longer.set_state(by_state.get_state())
    assert not longer.stop_all()


def test_timeout_uses_its_own_clock_if_nobody_ticks() -> None:
    times = iter([100.0, 105.0, 111.0, 112.0])
    stopper = TimeoutStopper(10, clock=lambda: next(times))
    assert [stopper.stop_all() for _ in range(3)] == [False, False, True]
    mixed = TimeoutStopper(10, clock=lambda: 0.0)
    assert not mixed.stop_all()
    mixed.tick(100.0)
    assert mixed.spent_s == 0.0


@pytest.mark.parametrize("timeout", [-1, "10", None, True, float("nan"), timedelta(seconds=-1)])
def test_timeout_checks_its_argument(timeout: Any) -> None:
    with pytest.raises(UsageError, match="timeout"):
        TimeoutStopper(timeout)


def test_combined_stoppers_see_everything() -> None:
    mine, timeout = Mine(), TimeoutStopper(5)
    stopper = CombinedStopper(MaximumIterationStopper(1), mine, timeout)
    assert answers(stopper, [1, 1]) == [True, True]
    assert mine.seen == ["t", "t"]
    stopper.tick(0.0)
    assert not stopper.stop_all()
    stopper.tick(5.0)
    assert stopper.stop_all()
    resumed = CombinedStopper(MaximumIterationStopper(3), Mine(), TimeoutStopper(5))
    resumed.set_state(json.loads(json.dumps(stopper.get_state())))
    assert resumed.stop_all()
    assert answers(resumed, [1]) == [True]
    with pytest.raises(UsageError, match="3 combined stoppers, but there are 1"):
        CombinedStopper(mine).set_state(stopper.get_state())
    with pytest.raises(UsageError, match="instances of Stopper"):
        CombinedStopper(Mine)


def test_splitting_thresholds() -> None:
    stop = {"training_iteration": 10, "eval": {"acc": np.float32(0.5), "done": np.bool_(True)}, "converged": False}
    criteria, stopper = split_stop(stop)
    assert criteria == {"training_iteration": 10, "eval/acc": 0.5, "eval/done": True, "converged": False}
    assert [type(value) for value in criteria.values()] == [int, float, bool, bool]
    assert stopper is None
    assert json.loads(json.dumps(criteria)) == criteria
    assert split_stop(None) == ({}, None)


def test_splitting_stoppers_functions_and_lists() -> None:
    mine = Mine()
    assert split_stop(mine) == ({}, mine)
    _, made = split_stop(lambda trial_id, result: True)
    assert isinstance(made, FunctionStopper)
    criteria, combined = split_stop([{"a": 5}, mine, None, {"a": 3, "b": True}, lambda t, r: True])
    assert criteria == {"a": 3, "b": True}
    assert isinstance(combined, CombinedStopper)
    assert answers(combined, [1]) == [True]
    assert mine.seen == ["t"]


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        (5, ["stop= takes", "not 5"]),
        ("training_iteration", ["stop= takes"]),
        (Mine, ["an instance of Stopper", "Mine"]),
        (lambda result: True, ["(trial_id, result)"]),
        ({"a": {"b": "3"}}, ["'a/b'", "'3'", "number"]),
        ({"a": None}, ["'a'", "None"]),
        ({"a": float("nan")}, ["'a'", "nan"]),
        ({3: 1}, ["3"]),
        ([{"a": True}, {"a": 1}], ["'a'", "True", "1"]),
    ],
)
def test_what_stop_may_not_be(stop: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        split_stop(stop)
    for word in words:
        assert word in str(caught.value)


def test_criteria_are_reached_from_below() -> None:
    criteria = {"n": 3, "eval/acc": 0.5}
    assert reached(criteria, {"n": 2, "eval/acc": 0.4}) is None
    assert reached(criteria, {"n": 3, "eval/acc": 0.4}) == "n"
    assert reached(criteria, {"n": 1, "eval/acc": np.float32(0.6)}) == "eval/acc"
    assert reached(criteria, {"n": 1, "eval/acc": float("nan")}) is None
    assert reached({}, {}) is None


def test_bool_criteria_are_reached_by_being_equal() -> None:
    assert reached({"done": True}, {"done": False}) is None
    assert reached({"done": True}, {"done": np.bool_(True)}) == "done"
    assert reached({"ok": False}, {"ok": True}) is None
    assert reached({"ok": False}, {"ok": False}) == "ok"


def test_criteria_that_cannot_be_checked_are_named() -> None:
    with pytest.raises(MetricError, match=r"Stop criterion 'acc' was never reported. Reported were: n, loss"):
        reached({"n": 1, "acc": 2}, {"n": 1, "loss": 2})
    for value in ("3", None, [1, 2]):
        with pytest.raises(UsageError, match="'n' needs a number"):
            reached({"n": 3}, {"n": value})


def test_a_target_of_a_trial_stops_it_alone() -> None:
    stopper = TrialTargetStopper("val/loss", 1)
    assert [stopper("t", {"val/loss": value}) for value in (3, float("nan"), 1, 2)] == [False, False, True, False]
    assert not stopper.stop_all()
    assert [TrialTargetStopper("acc", 1, "max")("t", {"acc": value}) for value in (0.5, 1)] == [False, True]


def test_a_target_stops_all() -> None:
    for mode, values in (("min", (3, 1.5, 1)), ("max", (0, 0.5, 1))):
        stopper = TargetStopper("val/loss", 1, mode)
        answers = [(stopper("t", {"val/loss": value}), stopper.stop_all()) for value in values]
        assert answers == [(False, False), (False, False), (False, True)]
        other = TargetStopper("val/loss", 1, mode)
        other.set_state(json.loads(json.dumps(stopper.get_state())))
        assert other.stop_all()
        stopper("t", {"val/loss": float("nan")})
        assert stopper.stop_all()
    with pytest.raises(UsageError):
        TargetStopper("loss", "low")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        TargetStopper("loss", 1, "best")
