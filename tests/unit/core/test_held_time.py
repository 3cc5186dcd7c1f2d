"""The time for which attempts held their jobs, by events."""

from __future__ import annotations

from hpctune.core.held_time import HeldTime
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.trial import Phase

ONE, TWO = Resources(), Resources((Bundle(2.0),))


def fold(*events: tuple[float, e.TrialEvent], resources: Resources = ONE) -> HeldTime:
    times = HeldTime()
    for at, event in events:
        times.apply(event, at, resources)
    return times


def started(attempt: int = 1, restart: int = 0, began: float | None = None) -> e.RunStarted:
    return e.RunStarted(RunKey("t", attempt, restart), "7", "n", 1, job_began=began)


def ended(left_at: float | None = None, attempt: int = 1) -> e.RunEnded:
    return e.RunEnded(RunKey("t", attempt, 0), Outcome.COMPLETED, "", left_at=left_at)


def test_from_the_start_of_the_job_to_the_end_of_its_run() -> None:
    times = fold((10.0, started(began=7.0)))
    assert times.of("t", 20.0) == 13.0
    assert list(times.totals(20.0)) == [(ONE, 13.0)]
    times = fold((10.0, started(began=7.0)), (30.0, ended(29.0)))
    assert list(times.totals(99.0)) == [(ONE, 22.0)]
    assert times.longest_s == 0.0, "the trial is not over"
    times.apply(e.TrialEnded("t", Phase.TERMINATED, ""), 31.0, ONE)
    assert (times.longest_s, times.of("t", 99.0)) == (22.0, 0.0)


def test_attempts_of_a_trial_add_up_and_a_requeued_job_waits() -> None:
    times = fold(
        (10.0, e.JobChanged("t", 1, "7", JobState.RUNNING)), (12.0, started()),
        (20.0, e.JobChanged("t", 1, "7", JobState.PENDING)), (50.0, started(restart=1)),
        (60.0, e.JobEnded("t", 1, JobState.NODE_FAIL)), (60.0, e.JobEnded("t", 1, JobState.NODE_FAIL)),
    )  # fmt: skip
    assert times.of("t", 70.0) == 20.0
    times.apply(started(attempt=2), 80.0, TWO)
    assert times.of("t", 85.0) == 25.0
    assert list(times.totals(85.0)) == [(ONE, 20.0), (TWO, 5.0)], "by what each attempt asked for"


def test_clocks_that_differ_make_no_negative_time() -> None:
    times = fold((10.0, started(began=11.0)), (12.0, ended(5.0)))
    assert list(times.totals(20.0)) == [(ONE, 0.0)]
