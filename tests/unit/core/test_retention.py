"""Limits of the checkpoints of all trials: which are removed, in which order, and which never."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpctune.core.retention import spare_of_all, starting_points
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.model.trial import CheckpointRef
from tests.unit.core.test_plan import E, P, Q, R, T, W, deleted, state_with

SPEC = ExperimentSpec("abcde123", "exp", 0.0, "f", metric="loss", mode="min")


def refs(*losses: float | None, size: int | None = 10) -> dict[str, Any]:
    """The checkpoints c1, c2, ... of a trial, with its last result."""
    made = tuple(CheckpointRef(f"c{i}", i, bytes=size, metric=loss) for i, loss in enumerate(losses, 1))
    return {"checkpoints": made, "last": {} if losses[-1] is None else {"loss": losses[-1]}}


def removed(*trials: dict[str, Any], spec: ExperimentSpec = SPEC, **policy: Any) -> list[str]:
    state = state_with(*trials, spec=replace(spec, checkpoint=CheckpointPolicy(**policy)))
    return [f"{x.trial_id} {x.name}" for x in spare_of_all(state, starting_points(state))]


def test_nothing_is_removed_within_the_limits() -> None:
    trials = ({"phase": T, **refs(3, 2, 1)}, {"phase": T, **refs(6, 5)})
    assert removed(*trials) == []
    assert removed(*trials, max_total=5, max_total_bytes=50) == []


def test_what_a_later_one_has_replaced_goes_first() -> None:
    trials = ({"phase": R, **refs(4, 3, 2)}, {"phase": T, **refs(9, 8, 7)})
    assert removed(*trials, max_total=5) == ["t0 c1"]
    assert removed(*trials, max_total=3) == ["t0 c1", "t1 c1", "t0 c2"]
    assert removed(*trials, max_total_bytes=45) == ["t0 c1", "t1 c1"]


def test_then_the_worst_trials_and_never_the_best() -> None:
    trials = ({"phase": T, **refs(5)}, {"phase": T, **refs(1)}, {"phase": T, **refs(9)}, {"phase": T, **refs(None)})
    assert removed(*trials, max_total=2) == ["t3 c1", "t2 c1"]
    assert removed(*trials, max_total=1) == ["t3 c1", "t2 c1", "t0 c1"]
    maximum = replace(SPEC, mode="max")
    assert removed(*trials, spec=maximum, max_total=1) == ["t3 c1", "t1 c1", "t0 c1"]


def test_the_best_checkpoint_of_a_trial_outlives_its_others() -> None:
    trials = ({"phase": R, **refs(4, 1, 3, 2)}, {"phase": T, **refs(0.5, 0.1)})
    assert removed(*trials, max_total=4) == ["t0 c1", "t1 c1"]
    assert removed(*trials, max_total=2) == ["t0 c1", "t1 c1", "t0 c3", "t0 c2"]


@pytest.mark.parametrize("phase", [R, P, Q, W, E])
def test_what_may_go_on_keeps_its_newest(phase: Any) -> None:
    attempt = {"attempt": {"restart": 0}} if phase in (R, Q) else {}
    trials = ({"phase": phase, **attempt, **refs(9, 9)}, {"phase": T, **refs(1)})
    assert removed(*trials, max_total=1) == ["t0 c1"]


def test_what_an_attempt_starts_from_stays() -> None:
    running = {"phase": R, "attempt": {"restart": 0, "restore": "dir0/c1"}, **refs(9, 8, 7)}
    borrower = {"phase": P, "restore": "dir1/c1", **refs(6)}
    trials = (running, {"phase": T, **refs(5, 4)}, borrower, {"phase": T, **refs(1)})
    assert removed(*trials, max_total=1) == ["t0 c2", "t1 c2"]


def test_the_best_of_all_stays_although_its_trial_got_worse() -> None:
    trials = ({"phase": T, **refs(0.1, 8)}, {"phase": T, **refs(3, 2)})
    assert removed(*trials, max_total=1) == ["t1 c1", "t0 c2"]


def test_the_leader_keeps_its_best_and_its_newest() -> None:
    trials = ({"phase": T, **refs(0.5, 0.4, 0.45)}, {"phase": T, **refs(3)})
    assert removed(*trials, max_total=1) == ["t0 c1", "t1 c1"]


def test_with_several_metrics_the_front_keeps_its_newest() -> None:
    spec = replace(SPEC, more_objectives=(("size", "min"),))
    points = ((1, 9), (5, 2), (6, 8), (7, 9))
    trials = [{"phase": T, **refs(loss), "last": {"loss": loss, "size": size}} for loss, size in points]
    assert removed(*trials, spec=spec, max_total=1) == ["t3 c1", "t2 c1"]
    assert removed(*trials, max_total=1) == ["t3 c1", "t2 c1", "t1 c1"]


def test_the_attribute_of_the_retention_says_which_is_the_best_of_a_trial() -> None:
    scored = tuple(CheckpointRef(f"c{i}", i, score, 10, 1.0) for i, score in enumerate((1.0, 3.0, 2.0, 0.0), 1))
    trials = ({"phase": R, "checkpoints": scored, "last": {"loss": 1.0}}, {"phase": T, **refs(0.5)})
    assert removed(*trials, max_total=3, score_attribute="acc") == ["t0 c1", "t0 c3"]


def test_without_a_metric_every_trial_keeps_its_newest() -> None:
    spec = replace(SPEC, metric=None, mode=None)
    trials = ({"phase": T, **refs(None, None)}, {"phase": T, **refs(None)})
    assert removed(*trials, spec=spec, max_total=1) == ["t0 c1"]


def test_removing_what_takes_no_space_does_not_help() -> None:
    old = {"phase": T, **refs(9, 8, size=None)}
    assert removed(old, {"phase": T, **refs(2, 1)}, max_total_bytes=10) == ["t1 c1"]


def test_the_totals_follow_every_change() -> None:
    state = state_with({"phase": T, **refs(3, 2)}, {"phase": T, **refs(1, size=None)}, {"phase": P})
    assert (state.checkpoints.count, state.checkpoints.bytes, state.checkpoints.unknown) == (3, 20, 1)
    assert list(state.saved) == ["t0", "t1"]


def test_the_plan_keeps_to_both_limits() -> None:
    assert deleted([None] * 4, CheckpointPolicy(max_total=3)) == ["c0"]
    assert set(deleted([None] * 4, CheckpointPolicy(keep=2, max_total=3))) == {"c0", "c1"}


@pytest.mark.parametrize("bad", [{"max_total": 0}, {"max_total_bytes": -1}])
def test_impossible_limits(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="max_total"):
        CheckpointPolicy(**bad)
