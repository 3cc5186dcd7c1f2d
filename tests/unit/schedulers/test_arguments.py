"""ASHA's arguments, its names, and where its metric and mode come from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hpctune.errors import UsageError
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial
from hpctune.schedulers import (
    ASHAScheduler,
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    as_scheduler,
    create_scheduler,
)

WRONG = [
    ({"max_t": 0}, "max_t must be a number greater than 0, not 0"),
    ({"max_t": "9"}, "max_t must be a number"),
    ({"max_t": math.inf}, "max_t and reduction_factor must be finite"),
    ({"max_t": math.nan}, "max_t must be"),
    ({"grace_period": 0}, "grace_period must be a number greater than 0"),
    ({"grace_period": 5, "max_t": 4}, "grace_period must not be greater than max_t: 5 > 4"),
    ({"reduction_factor": 1}, "reduction_factor must be a number greater than 1, not 1"),
    ({"brackets": 0}, "brackets must be a whole number greater than 0"),
    ({"brackets": 1.5}, "brackets must be a whole number"),
    ({"brackets": True}, "brackets must be a whole number"),
    ({"mode": "least"}, "mode must be 'min' or 'max', not 'least'"),
    ({"metric": 3}, "metric must be the name of a reported value, not 3"),
    ({"time_attr": ""}, "time_attr must be the name"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        AsyncHyperBandScheduler(**arguments)


@pytest.mark.parametrize("name", ["asha", "ASHA", "async_hyperband", "async_hyper_band", "asynchyperband"])
def test_by_name(name: str) -> None:
    scheduler = create_scheduler(name, metric="loss", mode="min", max_t=9)
    assert type(scheduler) is AsyncHyperBandScheduler is ASHAScheduler
    assert (scheduler.metric, scheduler.mode, scheduler.max_t) == ("loss", "min", 9)
    assert create_scheduler(name, max_t=9, max_time=1).max_t == 9  # type: ignore[attr-defined]


def test_metric_and_mode_come_from_the_experiment() -> None:
    given = ASHAScheduler()
    taken = as_scheduler(given, "loss", "min")
    assert isinstance(taken, ASHAScheduler)
    assert (taken.metric, taken.mode) == ("loss", "min")
    assert given.metric is None, "the user's own object can serve another experiment"
    half = as_scheduler(ASHAScheduler(mode="max"), "score", None)
    assert isinstance(half, ASHAScheduler)
    assert (half.metric, half.mode) == ("score", "max")
    same = as_scheduler(ASHAScheduler(metric="loss", mode="min"), "loss", "min")
    assert isinstance(same, ASHAScheduler)
    returned = as_scheduler("asha", None, "max")
    assert isinstance(returned, ASHAScheduler)
    assert returned.metric == "_metric"


@pytest.mark.parametrize(("metric", "mode"), [("other", "min"), ("loss", "max"), ("other", None)])
def test_metric_and_mode_given_twice(metric: str, mode: str | None) -> None:
    with pytest.raises(UsageError, match=r"of its own.*Give them to one of the two"):
        as_scheduler(ASHAScheduler(metric="loss", mode="min"), metric, mode)


def test_metric_and_mode_given_nowhere() -> None:
    with pytest.raises(UsageError, match=r"has no metric and no mode. Give metric=\.\.\., mode="):
        as_scheduler("asha", None, None)
    with pytest.raises(UsageError, match="has no mode"):
        ASHAScheduler(metric="loss").on_trial_add(Trial("t0", 0, "t0", "t0", "", {}, {}, Resources(), 0.0))


@pytest.mark.parametrize("kind", [ASHAScheduler, HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining])
def test_the_reward_attribute_of_old(kind: Any) -> None:
    options = {"hyperparam_mutations": {"x": [1]}} if kind is PopulationBasedTraining else {}
    made = kind(reward_attr="reward", **options)
    assert (made.metric, made.mode) == ("reward", "max")
    for other in ({"mode": "min"}, {"metric": "loss"}):
        with pytest.raises(UsageError, match="reward_attr='reward' contradicts"):
            kind(reward_attr="reward", **other, **options)
