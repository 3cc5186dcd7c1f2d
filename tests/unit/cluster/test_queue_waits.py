"""What jobs waited in the queue, and the rules that a pool of workers draws from it."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.queue_waits import (
    LAST,
    MAX_IDLE_GRACE_S,
    MAX_MINUTES,
    MAX_PROVISIONING_S,
    MIN_MINUTES,
    UNKNOWN_MINUTES,
    QueueWaits,
    censored_median,
    idle_grace_s,
    needs_successor,
    trials_started_within,
    worker_minutes,
)
from hpctune.cluster.slurm.script import script_text
from hpctune.cluster.slurm.sinfo import NodeGroup, longest_minutes
from hpctune.common.text import duration
from hpctune.errors import UsageError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest, JobState
from hpctune.model.pool import WorkerOrders, WorkerSpec
from hpctune.ports import Demand
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker.pool.main import Worker as PoolWorker
from hpctune.worker.pool.process import ProcessSpawner
from hpctune.worker.pool.slots import ProcessSlots
from tests.unit.cluster.test_pool import MORE, NOTHING_NOW, ONE, Lab, Worker

# -- measuring ---------------------------------------------------------------------------------------------------------


def test_without_any_that_wait_it_is_the_lower_median() -> None:
    drawn = random.Random(1)
    for size in range(1, 20):
        values = [drawn.uniform(0.0, 100.0) for _ in range(size)]
        assert censored_median(values) == statistics.median_low(values)


@pytest.mark.parametrize(
    ("seen", "unfinished", "expected"),
    [
        ([], [], 0.0),
        ([], [30.0, 70.0], 70.0),
        ([10.0], [2.0], 10.0),
        ([10.0, 20.0, 30.0], [1.0, 1.0, 1.0, 1.0], 20.0),  # those have only come: they say nothing yet
        ([10.0, 20.0, 30.0], [40.0, 40.0, 40.0, 40.0], 40.0),  # more than half are longer than all that ended
        ([10.0, 20.0, 30.0], [25.0], 20.0),
        ([10.0, 20.0, 30.0], [25.0, 28.0], 30.0),
    ],
)
def test_those_that_still_wait_count_as_longer_than_now(
    seen: list[float], unfinished: list[float], expected: float
) -> None:
    assert censored_median(seen, unfinished) == expected


def test_one_long_wait_does_not_change_the_estimate() -> None:
    waits = QueueWaits()
    for _ in range(9):
        waits.started(60.0)
    waits.started(86400.0)
    assert waits.wait_s() == 60.0


def test_the_newest_count_and_nothing_is_known_before_the_first() -> None:
    waits = QueueWaits()
    assert (waits.wait_s([500.0]), waits.startup_s) == (0.0, 0.0)
    for _ in range(LAST):
        waits.started(10.0)
    for _ in range(LAST):
        waits.started(700.0)
        waits.began(9.0)
    assert (waits.wait_s(), waits.startup_s) == (700.0, 9.0)
    waits.started(-3.0)  # a node whose clock is behind
    assert waits.wait_s() == 700.0


def test_in_a_few_words() -> None:
    waits = QueueWaits()
    assert waits.summary() == ""
    assert waits.summary([30.0, 300.0]) == "jobs have waited 5 min in the queue so far"
    for wait in (700.0, 720.0, 740.0):
        waits.started(wait)
    assert waits.summary() == "jobs waited 12 min in the queue (median of 3)"
    waits.began(9.4)
    assert waits.summary() == "jobs waited 12 min in the queue (median of 3), start-up 9 s"
    assert [duration(s) for s in (0.2, 119.0, 7100.0, 9000.0)] == ["0 s", "119 s", "118 min", "2 h 30 min"]


# -- the rules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "expected"), [(0.0, 120.0), (60.0, 120.0), (600.0, 600.0), (86400.0, MAX_IDLE_GRACE_S)]
)
def test_an_idle_worker_is_kept_as_long_as_another_would_take(wait: float, expected: float) -> None:
    assert idle_grace_s(120.0, wait) == expected
    assert idle_grace_s(3600.0, wait) == 3600.0


@pytest.mark.parametrize(
    ("places", "trial_s", "provisioning_s", "expected"),
    [(4, 60.0, 600.0, 40), (4, 600.0, 600.0, 4), (4, 6000.0, 600.0, 0), (4, None, 600.0, 0), (4, 60.0, 0.0, 0)],
)
def test_what_the_present_workers_do_meanwhile(
    places: int, trial_s: float | None, provisioning_s: float, expected: int
) -> None:
    assert trials_started_within(places, trial_s, provisioning_s) == expected


def test_when_a_successor_is_due() -> None:
    assert not needs_successor(9000.0, 1000.0, 90.0, 600.0)
    assert needs_successor(9000.0, 690.0, 90.0, 600.0)
    assert not needs_successor(9000.0, 690.0, 90.0, 0.0), "nothing is known of the queue, or it does not matter"
    assert not needs_successor(9000.0, float("inf"), 90.0, 600.0)
    assert not needs_successor(86400.0, MAX_PROVISIONING_S + 100.0, 90.0, 86400.0), "not more than so long ahead"
    assert not needs_successor(500.0, 690.0, 90.0, 86400.0), "not before half of its time has passed"
    assert needs_successor(600.0, 690.0, 90.0, 86400.0)


@pytest.mark.parametrize(
    ("trials", "lead", "most", "expected"),
    [
        ([], 0.0, None, UNKNOWN_MINUTES),
        ([], 0.0, 30, 30),
        ([1.0, 2.0], 0.0, None, MIN_MINUTES),
        ([300.0, 600.0], 0.0, None, 42),  # four of the longest, and the warning of 90 s
        ([1.0], 1200.0, None, 62),  # three times the wait
        ([36000.0], 0.0, None, MAX_MINUTES),
        ([36000.0], 0.0, 1440, 1440),
        ([1.0], 0.0, 5, 5),
    ],
)
def test_how_long_a_worker_asks_for(trials: list[float], lead: float, most: int | None, expected: int) -> None:
    assert worker_minutes(trials, lead, 90.0, most) == expected


# -- the rules in a pool -----------------------------------------------------------------------------------------------


def started(lab: Lab, wait_s: float, *names: str) -> list[Worker]:
    """Ask for workers, and let them start after they have waited."""
    lab.look(MORE)
    lab.clock.sleep(wait_s - 11.0 * len(names))
    return [lab.worker(name) for name in names]


def ends(lab: Lab, job_id: str, seconds: float) -> None:
    lab.inner.set(job_id, JobState.RUNNING, ends_at=lab.clock.now() + seconds)


def one_trial(lab: Lab, worker: Worker, seconds: float) -> None:
    """Let the worker run a trial that takes so long."""
    number = int(lab.submit(f"t{lab.clock.now():.0f}")[0].rpartition(".")[2])
    worker.begin(number)
    lab.clock.sleep(seconds)
    worker.end(number)
    lab.look()


def test_the_pool_says_what_its_jobs_waited_under_any_driver(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    assert lab.pool.queue() == ""
    started(lab, 720.0, "w0001")
    assert lab.pool.queue() == "jobs waited 12 min in the queue (median of 1), start-up 0 s"
    lab.driver()
    lab.look()
    assert lab.pool.queue() == "jobs waited 12 min in the queue (median of 1), start-up 0 s"


def test_idle_workers_and_places_in_the_queue_are_kept_as_long_as_others_would_take(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    (worker,) = started(lab, 600.0, "w0001")
    lab.submit("t1")
    assert worker.orders.idle_grace_s == pytest.approx(600.0, abs=30.0)
    lab.look(NOTHING_NOW, seconds=1.0)
    lab.look(NOTHING_NOW, seconds=500.0)
    assert lab.inner.cancelled == [], "the second one is still in the queue, where it is worth something"
    lab.look(NOTHING_NOW, seconds=400.0)
    assert lab.inner.cancelled == ["2"]


def test_they_are_not_where_the_pool_shall_not_adapt(tmp_path: Path) -> None:
    lab = Lab(tmp_path, adapt_to_queue=False)
    (worker,) = started(lab, 600.0, "w0001")
    lab.submit("t1")
    assert worker.orders.idle_grace_s == lab.options.idle_timeout_s
    assert "10 min" in lab.pool.queue(), "it is measured all the same"
    lab.look(NOTHING_NOW, seconds=1.0)
    lab.look(NOTHING_NOW, seconds=61.0)
    assert lab.inner.cancelled == ["2"]


def test_how_long_to_wait_is_no_news_that_wakes_a_worker(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    worker, _ = started(lab, 300.0, "w0001", "w0002")
    lab.submit("t1")
    worker.begin(1)
    lab.look()
    before = worker.orders
    lab.pool._workers.outlook.wait_s = 800.0
    lab.pool._workers.outlook._options = replace(lab.options, adapt_to_queue=False)  # stays as it is set
    lab.look()
    assert worker.orders == before
    worker.end(1)
    lab.look()
    lab.submit("t2")
    assert worker.orders.idle_grace_s == 800.0


@pytest.mark.parametrize(("adapt", "asked"), [(True, 1), (False, 3)])
def test_no_worker_is_asked_for_what_the_others_do_before_it_comes(tmp_path: Path, adapt: bool, asked: int) -> None:
    lab = Lab(tmp_path, workers=3, adapt_to_queue=adapt)
    lab.look(Demand(((ONE, 1),)))
    lab.clock.sleep(600.0)
    worker = lab.worker()
    one_trial(lab, worker, 100.0)
    lab.submit("t2")
    lab.look(Demand(((ONE, 5),)))
    assert len(lab.inner.requests) == asked, "in ten minutes it does six"
    lab.look(Demand(((ONE, 9),)))
    assert len(lab.inner.requests) == 3


def test_a_successor_is_in_the_queue_before_its_predecessor_ends(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1, warning_s=30.0)
    (old,) = started(lab, 600.0, "w0001")
    one_trial(lab, old, 300.0)
    ends(lab, "1", 5000.0)
    lab.submit("long")
    old.begin(2)
    lab.look(MORE)
    assert len(lab.inner.requests) == 1
    lab.look(seconds=4450.0)
    assert len(lab.inner.requests) == 2, "about as long ahead as it will wait"
    lab.look()
    assert len(lab.inner.requests) == 2
    assert old.orders.leave == ""
    lab.worker("w0002")
    assert old.orders.leave == "its successor is ready"
    assert lab.pool.room(ONE) == 1
    assert lab.inner.cancelled == [], "it finishes what it has begun"


def test_there_is_no_successor_where_nothing_is_left_to_do(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1)
    (old,) = started(lab, 600.0, "w0001")
    one_trial(lab, old, 300.0)
    ends(lab, "1", 100.0)
    lab.look(Demand(more_expected=False))
    assert len(lab.inner.requests) == 1
    assert old.orders.leave, "and no trial could be done in what is left"


def test_without_adapting_the_next_worker_is_asked_for_when_there_is_a_place(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1, adapt_to_queue=False)
    (old,) = started(lab, 600.0, "w0001")
    ends(lab, "1", 100.0)
    lab.submit("long")
    old.begin(1)
    lab.look(MORE)
    assert len(lab.inner.requests) == 1


def test_a_worker_without_time_for_a_trial_makes_way(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1, adapt_to_queue=False)
    (old,) = started(lab, 20.0, "w0001")
    one_trial(lab, old, 300.0)
    ends(lab, "1", 200.0)
    lab.look(MORE)
    assert old.orders.leave == "too little of its time is left for another trial"
    lab.look()
    assert [r.tag.trial_id for r in lab.inner.requests] == ["w0001", "w0002"]


def test_time_limits_follow_the_trials_and_the_wait(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=2, choose_time=True, warning_s=90.0)
    lab.look(Demand(((ONE, 1),)))
    lab.clock.sleep(600.0)
    one_trial(lab, lab.worker(), 900.0)
    lab.submit("t2")
    lab.look(MORE)
    assert [r.minutes for r in lab.inner.requests] == [UNKNOWN_MINUTES, 62]
    assert "w0001" in lab.pool.preview(lab.request("t3"))


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_time_that_the_pool_chooses() -> None:
    auto, upto = SlurmOptions(time="auto", workers=2), SlurmOptions(time="auto:4:00:00", workers=2)
    assert (auto.chooses_time, auto.time_minutes) == (True, None)
    assert (upto.chooses_time, upto.time_minutes) == (True, 240)
    pool = PoolOptions.of(upto)
    assert pool is not None
    assert (pool.choose_time, pool.most_minutes, pool.adapt_to_queue) == (True, 240, True)
    assert not SlurmOptions(time="1:00:00").chooses_time
    for wrong in ("auto:", "auto:soon", "automatic"):
        with pytest.raises(UsageError, match="is not a time limit"):
            SlurmOptions(time=wrong)
    with pytest.raises(UsageError, match="workers=N"):
        PoolOptions.of(SlurmOptions(time="auto"))


def test_adapting_is_an_option() -> None:
    for options in (SlurmOptions(workers=2, adapt_to_queue=False), LocalOptions(workers=2, adapt_to_queue=False)):
        pool = PoolOptions.of(options)
        assert pool is not None
        assert not pool.adapt_to_queue
    with pytest.raises(UsageError, match="adapt_to_queue must be True or False"):
        SlurmOptions(adapt_to_queue="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("chosen", "line"), [(30, "--time=30"), (None, None)])
def test_the_chosen_time_is_what_the_script_asks_for(tmp_path: Path, chosen: int | None, line: str | None) -> None:
    options = SlurmOptions(time="auto", workers=1, signal_delay_s=3600)
    null = Path("/dev/null")
    request = JobRequest(Tag("e", "w0001", 1), "w", ("x",), ONE, null, null, minutes=chosen)
    script = script_text(request, options, tmp_path)
    asked = [each.removeprefix("#SBATCH ") for each in script.splitlines() if each.startswith("#SBATCH --time")]
    assert asked == ([line] if line else [])
    assert ("USR2@450" in script) == (chosen == 30), "a job is not warned before it has had most of its time"


def test_a_partition_has_the_last_word() -> None:
    def group(name: str, limit: int | None) -> NodeGroup:
        return NodeGroup(name, name == "a", limit, 1, 8, 0, {"": 0}, True)

    groups = [group("a", 60), group("b", 240), group("c", None)]
    cases = ((None, 60), ("a,b", 240), ("b,c", None), ("unknown", None))
    assert all(longest_minutes(groups, partition) == limit for partition, limit in cases)
    assert longest_minutes([], None) is None


@pytest.mark.parametrize(("linger", "goes"), [(0.0, True), (60.0, False), (1.0, True)])
def test_a_worker_heeds_how_long_it_may_have_nothing_to_do(tmp_path: Path, linger: float, goes: bool) -> None:
    worker = object.__new__(PoolWorker)
    worker._spec, worker._orders = WorkerSpec("e", "w0001", idle_timeout_s=5.0), WorkerOrders(0, idle_grace_s=linger)
    here = ExperimentPaths(tmp_path)
    worker._slots = ProcessSlots(worker._spec, here, ProcessSpawner(worker._spec, here))
    worker._seen, worker._exit_reason = set(), ""
    worker._active_at = time.monotonic() - 30.0
    assert worker._may_go() is goes
