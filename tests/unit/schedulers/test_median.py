"""The median stopping rule against Golovin et al., "Google Vizier", KDD 2017, section 3.2.2, and by hand."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hpctune.errors import MetricError, UsageError
from hpctune.model.decisions import CONTINUE, Continue, Decision, Pause, Stop
from hpctune.model.trial import Phase
from hpctune.schedulers import MedianStoppingRule, as_scheduler, create_scheduler
from tests.support.scheduler_lab import trial


def made(n: int = 8, **arguments: Any) -> MedianStoppingRule:
    base = {"time_attr": "t", "metric": "loss", "mode": "min", "grace_period": 1}
    scheduler = MedianStoppingRule(**{**base, **arguments})
    for index in range(n):
        scheduler.on_trial_add(trial(index))
    return scheduler


def tell(scheduler: MedianStoppingRule, index: int, time: float, loss: float) -> Decision:
    return scheduler.on_trial_result(trial(index), {"t": time, "loss": loss})


def stopped(decision: Decision) -> bool:
    assert isinstance(decision, (Stop, Continue))
    return isinstance(decision, Stop)


def others(scheduler: MedianStoppingRule, *losses: list[float]) -> None:
    """Trials 1, 2, ... with a loss at each of the times 1, 2, ..."""
    for index, values in enumerate(losses, start=1):
        for time, loss in enumerate(values, start=1):
            assert not stopped(tell(scheduler, index, time, loss))


def test_by_hand() -> None:
    """Running averages up to time 2: 3, 4 and 6; the median is 4. The trial's best so far counts, not its last."""
    scheduler = made()
    others(scheduler, [4, 2, 1], [4, 4, 4], [7, 5, 3])
    assert not stopped(tell(scheduler, 0, 1, 3.9))
    assert not stopped(tell(scheduler, 0, 2, 100.0))  # its best is 3.9
    # Up to time 3 the averages are 7/3, 4 and 5: the median is 4 still.
    assert not stopped(tell(scheduler, 0, 3, 100.0))
    # Up to time 2, with the average 51.95 of trial 0: the median is 5.
    assert not stopped(tell(scheduler, 4, 2, 5.0))
    assert tell(scheduler, 5, 2, 5.5) == Stop("best loss=5.5 is worse than the median 5 of 5 others")
    assert scheduler.debug_string() == "Using MedianStoppingRule: num_stopped=1."


def test_only_strictly_worse_is_stopped() -> None:
    scheduler = made()
    others(scheduler, [4.0], [4.0], [4.0])
    assert not stopped(tell(scheduler, 0, 1, 4.0))
    assert stopped(tell(scheduler, 4, 1, 4.1))


def test_mode_max() -> None:
    scheduler = made(mode="max")
    others(scheduler, [4.0], [4.0], [4.0])
    assert stopped(tell(scheduler, 0, 1, 3.9))
    assert not stopped(tell(scheduler, 4, 1, 4.1))


def test_enough_samples_are_needed() -> None:
    """Only trials that have got as far count."""
    scheduler = made()
    others(scheduler, [1, 1], [1, 1], [1])
    assert not stopped(tell(scheduler, 0, 2, 9.0))
    tell(scheduler, 3, 2, 1.0)
    assert stopped(tell(scheduler, 0, 2, 9.0))


def test_grace_period() -> None:
    """No decision before it, and results before it are in no average, but they may be a trial's best."""
    scheduler = made(grace_period=2)
    others(scheduler, [100, 1, 1], [100, 1, 1], [100, 1, 1])
    assert not stopped(tell(scheduler, 0, 1, 9.0))
    assert stopped(tell(scheduler, 0, 2, 9.0))
    tell(scheduler, 4, 1, 0.5)
    assert not stopped(tell(scheduler, 4, 2, 9.0))


def test_no_result_in_time_is_no_sample() -> None:
    """A trial that reported before the grace period and then only after now has no average yet."""
    scheduler = made(grace_period=60, min_samples_required=1)
    tell(scheduler, 1, 50, 1.0)
    tell(scheduler, 1, 70, 1.0)
    assert not stopped(tell(scheduler, 0, 65, 9.0))
    assert stopped(tell(scheduler, 0, 70, 9.0))


def test_nan_is_the_worst() -> None:
    scheduler = made(min_samples_required=1)
    assert not stopped(tell(scheduler, 0, 1, 1.0))
    assert stopped(tell(scheduler, 1, 1, math.nan))
    assert not stopped(tell(scheduler, 2, 1, 1.0))
    mixed = made(min_samples_required=1)
    tell(mixed, 0, 1, math.inf)
    tell(mixed, 0, 2, -math.inf)
    assert not stopped(tell(mixed, 1, 2, 1.0))


def test_time_that_goes_back_stands_still() -> None:
    """After a restart from a checkpoint the seconds spent may be fewer than before."""
    scheduler = made(min_samples_required=1)
    for time in (5, 3, 4):
        tell(scheduler, 0, time, 1.0)
    assert stopped(tell(scheduler, 1, 5, 2.0))


def test_no_milestones_and_unreadable_results() -> None:
    scheduler = made()
    assert scheduler.milestone(trial(0)) is None
    assert not stopped(scheduler.on_trial_result(trial(0), {"t": 1}))
    with pytest.raises(MetricError, match="metric of MedianStoppingRule 'loss'"):
        scheduler.on_trial_complete(trial(0), {"t": 1})


WRONG = [
    ({"grace_period": -1}, "grace_period must be a number of at least 0, not -1"),
    ({"min_samples_required": 0}, "min_samples_required must be a whole number of at least 1, not 0"),
    ({"min_samples_required": 2.5}, "min_samples_required must be a whole number"),
    ({"min_time_slice": "1"}, "min_time_slice must be a number"),
    ({"mode": "avg"}, "mode must be"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_arguments(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        MedianStoppingRule(**arguments)


def test_pausing_instead_of_stopping() -> None:
    """What is paused goes on when nothing else can use its place, and is not judged again, nor in any average."""
    scheduler = made(hard_stop=False)
    others(scheduler, [4.0, 4.0, 4.0], [4.0, 4.0, 4.0], [4.0, 4.0, 4.0])
    assert tell(scheduler, 0, 1, 5.0) == Pause("best loss=5 is worse than the median 4 of 3 others")
    assert tell(scheduler, 0, 2, 99.0) == CONTINUE
    assert tell(scheduler, 4, 2, 4.5) == Pause("best loss=4.5 is worse than the median 4 of 3 others")
    paused, pending = trial(0, Phase.PAUSED), trial(5, Phase.PENDING)
    assert scheduler.choose([paused], idle=False) is None
    assert scheduler.choose([paused, pending], idle=True) == "t5"
    assert scheduler.choose([paused], idle=True) == "t0"


def test_making_room() -> None:
    """While too few have got as far: at once, and then after each slice of time; by default never."""
    scheduler = made(min_time_slice=3)
    decisions = [tell(scheduler, 0, time, 1.0) for time in range(1, 9)]
    room = Pause("makes room: 0 others have got as far, of 3", yields=True)
    assert decisions == [room, CONTINUE, CONTINUE, CONTINUE, room, CONTINUE, CONTINUE, CONTINUE]
    late = made(min_time_slice=3, grace_period=5)
    assert [tell(late, 0, time, 1.0) == CONTINUE for time in range(1, 9)] == [True] * 4 + [False] + [True] * 3
    never = made()
    assert [tell(never, 0, time, 1.0) for time in range(1, 9)] == [CONTINUE] * 8


@pytest.mark.parametrize("name", ["median_stopping_rule", "medianstopping", "median_stopping", "MedianStoppingRule"])
def test_by_name(name: str) -> None:
    scheduler = as_scheduler(create_scheduler(name, grace_period=5), "loss", "min")
    assert isinstance(scheduler, MedianStoppingRule)
    assert (scheduler.metric, scheduler.mode, scheduler.grace_period) == ("loss", "min", 5)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 9), st.floats(allow_nan=True)), max_size=60))
def test_told_the_same_it_decides_the_same(rows: list[tuple[int, float, float]]) -> None:
    scheduler = made(0, min_samples_required=1)
    pickled = pickle.dumps(scheduler)

    def decisions(one: MedianStoppingRule) -> list[object]:
        return [tell(one, *row) for row in rows] + [one.debug_string()]

    first = decisions(scheduler)
    assert decisions(pickle.loads(pickled)) == first
    assert decisions(scheduler.fresh()) == first
