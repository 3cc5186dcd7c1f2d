"""Rungs that follow the wait in the queue: by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpctune.model.decisions import Decision, Stop
from hpctune.model.resources import Resources
from hpctune.model.trial import Attempt, Phase, Trial
from hpctune.schedulers import ASHAScheduler, create_scheduler
from hpctune.schedulers.queue_rungs import LAST, NO_QUEUE_S, SHARE, Places, QueueRungs

EPOCH_S = 60.0


def trial(index: int) -> Trial:
    return Trial(f"t{index}", index, f"t{index}", f"t{index}", "", {}, {}, Resources(), 0.0)


def running(index: int, asked_at: float, began_at: float, attempt: int = 1) -> Trial:
    """In its job, for which it waited."""
    made = Attempt(attempt, asked_at, started_at=began_at)
    return replace(trial(index), phase=Phase.RUNNING, attempt=made)


def over(index: int, at: float) -> Trial:
    return replace(trial(index), phase=Phase.TERMINATED, released_at=at)


def row(epoch: float, **more: Any) -> dict[str, Any]:
    return {"training_iteration": epoch, "time_total_s": EPOCH_S * epoch, **more}


def waited(seconds: float, trials: int = 1) -> QueueRungs:
    """What is known of trials whose jobs waited so long, all at once."""
    queue = QueueRungs()
    for index in range(trials):
        queue.reported(running(index, 0.0, seconds), row(1), 1)
    return queue


# -- which rungs ------------------------------------------------------------------------------------------------------


def test_rungs_before_a_share_of_the_wait_are_left_out() -> None:
    assert waited(40 * EPOCH_S).lowest == pytest.approx(40 * SHARE)


def test_nothing_is_left_out_where_nothing_is_known_or_nobody_waits() -> None:
    assert QueueRungs().lowest == 0.0
    assert waited(NO_QUEUE_S - 1).lowest == 0.0
    assert waited(NO_QUEUE_S).lowest > 0.0
    unpaced = QueueRungs()
    unpaced.reported(running(0, 0.0, 3600.0), {"training_iteration": 1}, 1)
    assert unpaced.wait_s == 3600.0
    assert unpaced.lowest == 0.0, "it is not known how long an epoch takes"


def test_no_new_trials_no_new_waits() -> None:
    queue = waited(3600.0)
    queue.exhausted()
    assert queue.lowest == 0.0
    queue.added()  # resumed with more
    assert queue.lowest > 0.0


def test_the_newest_count() -> None:
    """A median: half of the newest waits must have changed."""
    queue = waited(3600.0, LAST)
    for index in range(LAST):
        queue.ended(over(index, 5000.0))
    for n in range(LAST):
        assert queue.wait_s == (3600.0 if n < LAST / 2 else 0.0 if n > LAST / 2 else pytest.approx(1800.0))
        queue.reported(running(100 + n, 6000.0, 6000.0), row(1), 1)
    assert queue.lowest == 0.0


def test_the_pace_is_that_of_the_trials_that_reported_last() -> None:
    queue = waited(3600.0, LAST)
    for index in range(LAST):
        queue.reported(running(200 + index, 0.0, 3600.0), {"time_total_s": 600.0}, 1)
    assert queue.lowest == pytest.approx(SHARE * 3600.0 / 600.0)


def test_each_job_counts_once() -> None:
    queue = QueueRungs()
    for epoch in range(1, 10):
        queue.reported(running(0, 0.0, 600.0), row(epoch), epoch)
    queue.reported(running(1, 0.0, 0.0), row(1), 1)
    assert queue.wait_s == 300.0  # of two


def test_a_wait_ends_when_the_run_began_not_when_a_driver_came_back() -> None:
    """The driver was away for a day and read of the start and of the first results at once."""
    queue = QueueRungs()
    said = row(3, timestamp=1000.0 + 3 * EPOCH_S, time_since_restore=3 * EPOCH_S)
    queue.reported(running(0, 400.0, 400.0 + 86400.0), said, 3)
    assert queue.wait_s == 600.0


# -- whose fault a wait is --------------------------------------------------------------------------------------------


def test_a_job_that_waited_for_one_of_ours_lost_nothing() -> None:
    """Eight jobs in the queue and two at a time: each waits for hours, and no place stands empty."""
    queue = QueueRungs()
    for turn in range(4):
        at = 3600.0 * turn
        for index in (2 * turn, 2 * turn + 1):
            queue.reported(running(index, 0.0, at + 5), row(60), 60)
        for index in (2 * turn, 2 * turn + 1):
            queue.ended(over(index, at + 3600.0))
    assert queue.lowest == 0.0


def test_a_place_stands_empty_from_the_end_of_a_job_to_the_start_of_the_next() -> None:
    places = Places()
    assert places.taken(0.0, 100.0) == 100.0
    assert places.taken(0.0, 100.0) == 100.0
    places.left(200.0)
    places.left(300.0)
    assert places.taken(200.0, 700.0) == 500.0
    assert places.taken(300.0, 800.0) == 500.0
    places.left(900.0)
    assert places.taken(850.0, 1000.0) == 100.0, "it was asked for before the place was free"


def test_places_are_those_of_late() -> None:
    """A cluster that once ran ten at a time and now runs one: what waits now waits for its own."""
    places = Places()
    for _ in range(10):
        places.taken(0.0, 0.0)
    for _ in range(10):
        places.left(100.0)
    waits = []
    for turn in range(1, 200):
        waits.append(places.taken(0.0, 100.0 * turn))
        places.left(100.0 * (turn + 1))
    assert max(waits[:50]) > 0.0
    assert set(waits[-20:]) == {0.0}


def test_a_second_job_of_a_trial_waits_as_well() -> None:
    queue = QueueRungs()
    queue.reported(running(0, 0.0, 600.0), row(1), 1)
    queue.reported(replace(running(0, 700.0, 2500.0, attempt=2), released_at=700.0), row(2), 2)
    assert queue.wait_s == (600.0 + 1800.0) / 2


# -- ASHA -------------------------------------------------------------------------------------------------------------


def made(**more: Any) -> ASHAScheduler:
    scheduler = ASHAScheduler(metric="loss", mode="min", max_t=27, reduction_factor=3, **more)
    for index in range(6):
        scheduler.on_trial_add(trial(index))
    return scheduler


def tell(scheduler: ASHAScheduler, index: int, epoch: float, loss: float, waited_s: float) -> Decision:
    return scheduler.on_trial_result(running(index, 0.0, waited_s), row(epoch, loss=loss))


WAIT_S = 5 / SHARE * EPOCH_S
"""Up to five epochs are too few."""


def test_nobody_is_stopped_or_waits_at_a_rung_that_is_left_out() -> None:
    scheduler = made()
    assert scheduler.milestone(trial(0)) == 1
    for index in range(6):
        assert not isinstance(tell(scheduler, index, 1, float(index), WAIT_S), Stop)
        assert scheduler.milestone(trial(index)) == 9
    assert not isinstance(tell(scheduler, 5, 3, 5.0, WAIT_S), Stop)
    assert not isinstance(tell(scheduler, 0, 9, 0.0, WAIT_S), Stop)
    assert isinstance(tell(scheduler, 5, 9, 5.0, WAIT_S), Stop)
    assert scheduler.debug_string().endswith("\nRungs below 5 are left out: jobs wait 20 min")


def test_where_all_rungs_are_left_out_trials_still_end() -> None:
    scheduler = made()
    tell(scheduler, 0, 1, 1.0, 10 * WAIT_S)
    assert scheduler.milestone(trial(0)) == 27
    assert isinstance(tell(scheduler, 0, 27, 1.0, 10 * WAIT_S), Stop)


def test_a_rung_that_counts_again_compares_with_all_that_passed_it() -> None:
    scheduler = made()
    tell(scheduler, 0, 1, 0.0, WAIT_S)
    tell(scheduler, 1, 1, 9.0, WAIT_S)
    scheduler.on_search_exhausted()
    assert scheduler.milestone(trial(1)) == 3
    assert not isinstance(tell(scheduler, 1, 2, 9.0, WAIT_S), Stop), "it has passed that rung"
    assert isinstance(tell(scheduler, 2, 1, 8.0, WAIT_S), Stop)


@pytest.mark.parametrize("by_name", [False, True])
def test_it_can_be_switched_off(by_name: bool) -> None:
    given: dict[str, Any] = {"metric": "loss", "mode": "min", "max_t": 27, "reduction_factor": 3}
    off = create_scheduler("asha", adapt_to_queue=False, **given) if by_name else made(adapt_to_queue=False)
    assert isinstance(off, ASHAScheduler)
    for index in range(2):
        off.on_trial_add(trial(index))
    tell(off, 0, 1, 0.0, WAIT_S)
    assert off.milestone(trial(0)) == 3
    assert isinstance(tell(off, 1, 1, 5.0, WAIT_S), Stop)
    assert "left out" not in off.debug_string()


def test_a_fresh_one_knows_no_waits() -> None:
    scheduler = made()
    tell(scheduler, 0, 1, 1.0, WAIT_S)
    again = scheduler.fresh()
    again.on_trial_add(trial(0))
    assert again.milestone(trial(0)) == 1
