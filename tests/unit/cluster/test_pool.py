"""The pool's own logic, over a cluster that says what the test wants, with workers that write what the test wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hpctune.cluster.pool import cluster as pool
from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.pool.workers import BROKEN_AFTER, SURPLUS_S, WAITING_AT_MOST
from hpctune.errors import ClusterUnavailableError, RequestRejectedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.pool import Began, Claimed, Ended, Left, Ready, Retracted, WorkerOrders
from hpctune.model.resources import Bundle, Resources
from hpctune.ports import NO_DEMAND, CallStats, Demand
from hpctune.storage import worker_files
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.worker_files import WorkerFile, WorkerTail

ONE = Resources()
MORE = Demand(((ONE, 100),))
NOTHING_NOW = Demand()


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Inner:
    """A cluster of which the test says everything."""

    name, poll_s, quiet_poll_s = "fake", 1.0, 10.0

    def __init__(self) -> None:
        self.listed: dict[str, JobStatus] = {}
        self.cancelled: list[str] = []
        self.tidied: list[str] = []
        self.places = 100
        self.outage = False
        self.asked = 0
        self.answer: SubmitOutcome | None = None
        self.requests: list[JobRequest] = []

    def check(self, resources: Resources) -> None:
        if resources.cpus > 64:
            raise RequestRejectedError("too large")

    def room(self, resources: Resources) -> int:
        return self.places - sum(not job.state.final for job in self.listed.values())

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        outcomes: list[SubmitOutcome] = []
        for request in requests:
            self.requests.append(request)
            if isinstance(self.answer, Refused):
                outcomes.append(self.answer)
                continue
            job_id = str(len(self.requests))
            self.listed[job_id] = JobStatus(job_id, request.tag, JobState.PENDING)
            outcomes.append(self.answer or Accepted(job_id))
        return outcomes

    def jobs(self) -> list[JobStatus]:
        self.asked += 1
        if self.outage:
            raise ClusterUnavailableError("slurmctld is down")
        return list(self.listed.values())

    def cancel(self, job_ids: Sequence[str]) -> None:
        self.cancelled += job_ids
        for job_id in job_ids:
            self.set(job_id, JobState.CANCELLED)

    def preview(self, request: JobRequest) -> str:
        return f"{request.name} {request.resources.describe()}"

    def stats(self) -> CallStats:
        return CallStats(self.asked)

    def tidy(self, job_ids: Sequence[str]) -> None:
        self.tidied += job_ids

    def close(self) -> None: ...

    def set(self, job_id: str, state: JobState, ends_at: float | None = None) -> None:
        if job_id in self.listed:
            self.listed[job_id] = replace(self.listed[job_id], state=state, ends_at=ends_at)


class Worker:
    """The worker's end, in the test's hands."""

    def __init__(self, lab: Lab, name: str, run: int = 0) -> None:
        self.paths, self.lab, self.name, self.run = lab.paths.worker(name), lab, name, run
        file = WorkerFile.claim(self.paths.run(run), Claimed(run, "1", "node1", 1, lab.clock.now()))
        assert file is not None
        self.file = file
        self.file.append(Ready(lab.clock.now()))

    @property
    def orders(self) -> WorkerOrders:
        found = worker_files.parse_orders(worker_files.read_orders(self.paths))
        assert found is not None
        return found

    @property
    def given(self) -> list[int]:
        begun = {r.number for r in WorkerTail(self.paths.run(0)).read() if isinstance(r, Began)}
        return [a.number for a in self.orders.assignments if a.number not in begun]

    def begin(self, number: int) -> None:
        tag = next(a.tag for a in self.orders.assignments if a.number == number)
        self.file.append(Began(number, tag, 0, ("", ""), self.lab.clock.now()))

    def end(self, number: int, code: int | None = 0, why: str = "", saved_s: float | None = None) -> None:
        self.file.append(Ended(number, code, self.lab.clock.now(), why, saved_s))

    def leave(self, reason: str = "idle") -> None:
        self.file.append(Left(reason, self.lab.clock.now()))


class Lab:
    """An experiment with a pool."""

    def __init__(self, root: Path, **options: object) -> None:
        self.paths, self.clock, self.inner = ExperimentPaths(root), Clock(), Inner()
        self.options = PoolOptions(**{"workers": 2, "idle_timeout_s": 60.0, **options})  # type: ignore[arg-type]
        self.pool = self.driver()

    def driver(self) -> PooledCluster:
        """A pool object as a new driver makes it."""
        self.pool = PooledCluster(self.inner, self.paths.root, "exp", self.options, self.clock)
        return self.pool

    def look(self, demand: Demand | None = None, seconds: float = 11.0) -> dict[str, JobStatus]:
        """Let time pass, so that the cluster is asked too; the jobs by trial."""
        self.clock.sleep(seconds)
        if demand is not None:
            self.pool.demand(demand)
        return {job.tag.trial_id: job for job in self.pool.jobs()}

    def worker(self, name: str = "w0001") -> Worker:
        """Start the worker that the pool has asked for; the pool has seen it."""
        job_id = next(i for i, job in self.inner.listed.items() if job.tag.trial_id == name)
        self.inner.set(job_id, JobState.RUNNING)
        worker = Worker(self, name)
        self.look()
        return worker

    def request(self, trial: str, resources: Resources = ONE) -> JobRequest:
        folder = self.paths.root / trial
        return JobRequest(Tag("exp", trial, 1), trial, ("x", trial), resources, folder / "stdout", folder / "stderr")

    def submit(self, *trials: str) -> list[str]:
        outcomes = self.pool.submit([self.request(t) for t in trials])
        assert all(isinstance(o, Accepted) for o in outcomes), outcomes
        return [o.job_id for o in outcomes if isinstance(o, Accepted)]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# -- growing -----------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_of_a_searcher_before_a_worker_is_ready(lab: Lab) -> None:
    lab.look(MORE)
    assert [r.tag.trial_id for r in lab.inner.requests] == ["w0001", "w0002"]
    assert lab.pool.room(ONE) == 0
    lab.worker()
    assert lab.pool.room(ONE) == 1
    assert lab.submit("t1") == ["w0001.1"]
    assert lab.pool.room(ONE) == 0


def test_an_idle_cluster_object_only_looks(lab: Lab) -> None:
    lab.look()
    assert lab.inner.requests == []


def test_a_pool_without_a_size_grows_with_the_room_but_queues_few(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=None)
    lab.look(MORE)
    assert len(lab.inner.requests) == WAITING_AT_MOST
    lab.worker()
    lab.look()
    assert len(lab.inner.requests) == WAITING_AT_MOST + 1
    (tmp_path / "small").mkdir()
    small = Lab(tmp_path / "small", workers=None)
    small.inner.places = 3
    small.look(MORE)
    assert len(small.inner.requests) == 3


def test_when_all_is_done_queued_workers_are_cancelled_and_others_told_to_leave(lab: Lab) -> None:
    lab.look(MORE)
    worker = lab.worker()
    lab.look(NO_DEMAND)
    assert lab.inner.cancelled == ["2"]
    assert worker.orders.leave


def test_the_last_trials_may_yet_come_back(lab: Lab) -> None:
    """Nothing is left to begin: who is idle has a moment, in which a trial may pause or fail."""
    lab.look(MORE)
    worker = lab.worker()
    lab.look(Demand(more_expected=False))
    assert worker.orders.leave == ""
    lab.look(seconds=SURPLUS_S + 1.0)
    assert worker.orders.leave


def test_a_queued_worker_keeps_its_place_while_more_may_be_wanted(lab: Lab) -> None:
    lab.look(MORE)
    lab.look(NOTHING_NOW)
    assert lab.inner.cancelled == []
    lab.look(NOTHING_NOW, seconds=61.0)
    assert sorted(lab.inner.cancelled) == ["1", "2"]


def test_workers_that_leave_without_having_been_needed_are_not_replaced_at_once(lab: Lab) -> None:
    lab.look(Demand(((ONE, 1),)))
    worker = lab.worker()
    worker.leave()
    lab.inner.set("1", JobState.COMPLETED)
    lab.look(MORE, seconds=30.0)
    assert len(lab.inner.requests) == 1
    lab.look(MORE, seconds=61.0)
    assert len(lab.inner.requests) == 3


def test_workers_that_cannot_start_are_an_error_and_not_a_loop(lab: Lab) -> None:
    for _ in range(BROKEN_AFTER * 2):
        lab.look(Demand(((ONE, 1),)), seconds=60.0)
        for job_id in list(lab.inner.listed):
            lab.inner.set(job_id, JobState.FAILED)
        lab.look(seconds=60.0)
    assert len(lab.inner.requests) == BROKEN_AFTER
    assert lab.pool.room(ONE) == 1
    (outcome,) = lab.pool.submit([lab.request("t1")])
    assert isinstance(outcome, Refused)
    assert outcome.permanent
    assert "stderr" in outcome.reason


def test_workers_that_somebody_else_cancelled_could_have_started(lab: Lab) -> None:
    for _ in range(BROKEN_AFTER * 2):
        lab.look(Demand(((ONE, 1),)), seconds=3600.0)
        for job_id in list(lab.inner.listed):
            lab.inner.set(job_id, JobState.CANCELLED)
        lab.look(seconds=1.0)
    lab.look(Demand(((ONE, 1),)), seconds=3600.0)
    assert len(lab.inner.requests) == BROKEN_AFTER * 2 + 1
    lab.worker()
    assert lab.pool.room(ONE) == 1
    (outcome,) = lab.pool.submit([lab.request("t1")])
    assert isinstance(outcome, Accepted)


def test_a_refused_worker_leaves_nothing_and_is_asked_for_again_later(lab: Lab) -> None:
    lab.inner.answer = Refused("QOSMaxSubmitJobPerUserLimit", permanent=False)
    lab.look(Demand(((ONE, 1),)))
    assert list(lab.paths.workers.iterdir()) == []
    lab.look(seconds=1.0)
    assert len(lab.inner.requests) == 1
    lab.inner.answer = None
    lab.look(seconds=10.0)
    assert len(lab.inner.requests) == 2


def test_a_worker_whose_submission_was_not_answered_is_found_by_its_tag(lab: Lab) -> None:
    lab.inner.answer = Unanswered("timed out")
    lab.look(Demand(((ONE, 1),)))
    lab.look()
    lab.worker()
    assert lab.pool.room(ONE) == 1
    assert len(lab.inner.requests) == 1


def test_one_that_comes_late_is_taken_in(lab: Lab) -> None:
    lab.inner.answer = Unanswered("timed out")
    lab.look(Demand(((ONE, 1),)))
    late = dict(lab.inner.listed)
    lab.inner.listed.clear()
    lab.inner.answer = None
    for _ in range(4):
        lab.look()
    assert len(lab.inner.requests) == 2, "it was given up and another asked for"
    lab.inner.listed |= late
    lab.look()
    lab.worker()
    assert lab.pool.room(ONE) == 1


def test_workers_of_another_kind_make_way(lab: Lab) -> None:
    lab.look(MORE)
    worker = lab.worker()
    big = Resources((Bundle(cpus=8.0),))
    lab.look(Demand(((big, 1),)))
    lab.look(seconds=SURPLUS_S + 1.0)
    assert worker.orders.leave == "other workers are needed"


# -- who gets what -----------------------------------------------------------------------------------------------------


def two_workers(lab: Lab) -> tuple[Worker, Worker]:
    lab.look(MORE)
    return lab.worker("w0001"), lab.worker("w0002")


def test_short_trials_are_handed_out_ahead_where_the_searcher_does_not_learn(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1)
    lab.look(Demand(((ONE, 100),), prefetchable=True))
    worker = lab.worker()
    assert lab.pool.room(ONE) == 1, "nothing is known of the trials yet"
    for number, duration, expected in ((1, 0.1, 1 + 2), (2, 3.0, 1 + 1), (3, 200.0, 1)):
        lab.submit(f"t{number}")
        worker.begin(number)
        lab.clock.sleep(duration)
        worker.end(number)
        lab.pool._timings.durations.clear()
        lab.look(seconds=0.0)
        assert lab.pool.room(ONE) == expected
    lab.pool._timings.durations[:] = [0.1]
    lab.look(Demand(((ONE, 100),), prefetchable=False))
    assert lab.pool.room(ONE) == 1, "an adaptive searcher is asked when a place is free"


def test_what_waits_behind_another_goes_to_a_worker_that_has_nothing_to_do(tmp_path: Path) -> None:
    lab = Lab(tmp_path, prefetch=True)
    lab.look(Demand(((ONE, 1),)))
    first = lab.worker()
    lab.pool._timings.durations.append(0.1)
    lab.submit("t1", "t2")
    first.begin(1)
    lab.look(MORE)
    second = lab.worker("w0002")
    lab.look(NOTHING_NOW)
    assert first.orders.retracted == (2,)
    first.file.append(Retracted(2, lab.clock.now()))
    jobs = lab.look()
    assert jobs["t2"].job_id == "w0002.1"
    assert second.given == [1]
    assert (first.given, first.orders.retracted) == ([], ())


def test_what_a_worker_never_began_is_not_lost_with_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path, prefetch=True)
    one, two = two_workers(lab)
    lab.pool._timings.durations.append(0.1)
    lab.submit("t1", "t2", "t3")
    one.begin(1)
    lab.look()
    lab.inner.set("1", JobState.NODE_FAIL)
    jobs = lab.look()
    assert (jobs["t1"].state, jobs["t3"].state) == (JobState.NODE_FAIL, JobState.PENDING)
    two.begin(1)
    two.end(1)
    jobs = lab.look()
    assert jobs["t3"].job_id == "w0002.2"
    assert two.given == [2]


@pytest.mark.parametrize(
    ("ended", "seen"),
    [
        (JobState.TIMEOUT, JobState.TIMEOUT),
        (JobState.PREEMPTED, JobState.PREEMPTED),
        (JobState.OUT_OF_MEMORY, JobState.OUT_OF_MEMORY),
        (JobState.FAILED, JobState.LOST),
        (JobState.CANCELLED, JobState.LOST),
    ],
)
def test_how_the_end_of_a_worker_looks_to_its_trials(lab: Lab, ended: JobState, seen: JobState) -> None:
    one, _ = two_workers(lab)
    lab.submit("t1")
    one.begin(1)
    lab.look()
    lab.inner.set("1", ended)
    status = lab.look()["t1"]
    assert status.state is seen
    assert "w0001" in status.job_id


def test_a_worker_that_is_put_back_into_the_queue_begins_again(lab: Lab) -> None:
    one, _ = two_workers(lab)
    lab.submit("t1")
    one.begin(1)
    assert lab.look()["t1"].state is JobState.RUNNING
    lab.inner.set("1", JobState.PENDING)
    assert lab.look()["t1"].state is JobState.PREEMPTED
    lab.inner.set("1", JobState.RUNNING)
    again = Worker(lab, "w0001", run=1)
    lab.look()
    assert again.orders.run == 1, "a process of the first start must see that it has been superseded"
    lab.submit("t2", "t3")
    lab.look()
    assert again.given == [2]


def test_an_answer_from_before_a_worker_started_is_no_sign_of_a_requeue(lab: Lab) -> None:
    lab.look(MORE)
    Worker(lab, "w0001")  # the last answer says that it waits
    lab.look(seconds=0.1)
    lab.submit("t1")
    assert lab.look(seconds=0.1)["t1"].state is JobState.PENDING


def test_no_trial_is_started_that_cannot_reach_its_next_checkpoint(tmp_path: Path) -> None:
    lab = Lab(tmp_path, workers=1, warning_s=30.0)
    lab.look(MORE)
    worker = lab.worker()
    lab.inner.set("1", JobState.RUNNING, ends_at=lab.clock.now() + 600.0)
    lab.look()
    assert lab.pool.room(ONE) == 1, "a fresh worker takes any trial"
    lab.submit("t1")
    worker.begin(1)
    lab.clock.sleep(200.0)
    worker.end(1, saved_s=100.0)
    lab.look()
    assert lab.pool.room(ONE) == 1, "there is time for 100 s and a fifth more"
    lab.clock.sleep(250.0)
    assert lab.pool.room(ONE) == 0


def test_a_cancelled_trial_is_cancelled_alone(lab: Lab) -> None:
    one, two = two_workers(lab)
    first, second = lab.submit("t1", "t2")
    one.begin(1)
    two.begin(1)
    lab.pool.cancel([first, "w0099.3"])
    assert (one.orders.cancel, two.orders.cancel) == ((1,), ())
    one.end(1, -15, "cancelled")
    jobs = lab.look()
    assert (jobs["t1"].state, jobs["t2"].state) == (JobState.CANCELLED, JobState.RUNNING)
    assert (second, lab.inner.cancelled) == ("w0002.1", [])


def test_ends_of_processes(lab: Lab) -> None:
    one, two = two_workers(lab)
    lab.submit("t1", "t2")
    one.begin(1)
    two.begin(1)
    one.end(1, -11)
    two.end(1, -9, "oom")
    jobs = lab.look()
    assert (jobs["t1"].state, jobs["t1"].reason) == (JobState.FAILED, "ended by SIGSEGV")
    assert jobs["t2"].state is JobState.OUT_OF_MEMORY


# -- drivers -----------------------------------------------------------------------------------------------------------


def test_a_new_driver_finds_everything(tmp_path: Path) -> None:
    lab = Lab(tmp_path, prefetch=True)
    one, two = two_workers(lab)
    lab.pool._timings.durations.append(0.1)
    lab.submit("t1", "t2", "t3")
    one.begin(1)
    two.begin(1)
    two.end(1)
    before = lab.look()
    asked = len(lab.inner.requests)
    lab.driver()
    assert lab.look(MORE) == before
    assert len(lab.inner.requests) == asked
    one.end(1)
    one.begin(2)
    assert lab.look()["t3"].state is JobState.RUNNING
    assert lab.submit("t4") == ["w0002.2"]


def test_an_assignment_that_was_just_being_moved_is_moved_once(tmp_path: Path) -> None:
    """The driver died between the new worker's orders and those of the one that had it."""
    lab = Lab(tmp_path, prefetch=True)
    one, two = two_workers(lab)
    lab.pool._timings.durations.append(0.1)
    lab.submit("t1", "t2", "t3")
    stale = worker_files.read_orders(one.paths)
    lab.inner.set("1", JobState.NODE_FAIL)
    two.begin(1)
    two.end(1)
    lab.look()
    assert two.given == [2]
    Path(one.paths.orders).write_bytes(stale)
    lab.driver()
    lab.look(NOTHING_NOW)
    for _ in range(4):
        for number in two.given:
            two.begin(number)
            two.end(number)
        lab.look()
    begun = [r.tag for r in WorkerTail(two.paths.run(0)).read() if isinstance(r, Began)]
    assert sorted(begun) == [f"hpctune:exp:{trial}:1" for trial in ("t1", "t2", "t3")]


def test_orders_that_are_not_followed_are_given_again(lab: Lab) -> None:
    one, _ = two_workers(lab)
    lab.submit("t1")
    Path(one.paths.orders).write_text("{}")  # a driver that should be dead has written its own
    lab.look()
    assert one.given == [1]


def test_the_workers_files_count_while_the_cluster_does_not_answer(lab: Lab) -> None:
    one, _ = two_workers(lab)
    lab.submit("t1")
    lab.inner.outage = True
    one.begin(1)
    assert lab.look()["t1"].state is JobState.RUNNING
    one.end(1)
    assert lab.look()["t1"].state is JobState.COMPLETED
    assert lab.submit("t2")
    fresh = lab.driver()
    with pytest.raises(ClusterUnavailableError):
        fresh.jobs()


def test_the_cluster_is_asked_at_its_own_pace(lab: Lab) -> None:
    two_workers(lab)
    lab.inner.asked = 0
    for _ in range(600):
        lab.look(seconds=0.1)
    assert lab.inner.asked <= 60 / lab.inner.quiet_poll_s + 6


def test_jobs_that_are_no_workers_are_passed_on(lab: Lab) -> None:
    old = JobStatus("77", Tag("exp", "t9", 2), JobState.RUNNING)
    lab.inner.listed["77"] = old
    assert lab.look(MORE)["t9"] == old
    lab.pool.cancel(["77"])
    lab.pool.tidy(["77"])
    assert (lab.inner.cancelled, lab.inner.tidied) == (["77"], ["77"])


def test_empty_output_of_many_is_removed_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after the last look, or when it is that of many, or at the end."""
    workers = {worker.name: worker for worker in two_workers(lab)}

    def left_by(*trials: str) -> list[str]:
        for trial in trials:
            (lab.paths.root / trial).mkdir()
            (lab.paths.root / trial / "stdout").touch()
            (job_id,) = lab.submit(trial)
            name, number = job_id.split(".")
            workers[name].begin(int(number))
            workers[name].end(int(number))
            lab.look(seconds=0.1)
            lab.pool.tidy([job_id])
        return sorted(path.parent.name for path in lab.paths.root.glob("t*/stdout"))

    assert left_by("t1") == []
    assert left_by("t2", "t3") == ["t2", "t3"]
    lab.clock.sleep(pool.OUTPUTS_WITHIN_S + 1)
    assert left_by("t4") == []
    monkeypatch.setattr(pool, "OUTPUTS_AT_MOST", 1)
    assert left_by("t5") == ["t5"]
    assert left_by("t6") == []
    assert left_by("t7") == ["t7"]
    lab.pool.demand(NO_DEMAND)
    lab.pool.tidy([])
    assert left_by() == []


def test_a_pool_is_supplied_when_each_worker_has_one_to_go_on_with(tmp_path: Path) -> None:
    lab = Lab(tmp_path, prefetch=True)
    assert not lab.pool.all_workers_prefetched
    one, two = two_workers(lab)
    worker = {"w0001": one, "w0002": two}
    job_id, *_ = lab.submit("t1", "t2")
    worker[job_id.split(".")[0]].begin(1)
    worker[job_id.split(".")[0]].end(1)  # now it is known that trials are short
    lab.look(Demand(((ONE, 100),), prefetchable=True))
    assert not lab.pool.all_workers_prefetched
    for number in range(3, 20):
        if not lab.pool.room(ONE):
            break
        lab.submit(f"t{number}")
    assert lab.pool.all_workers_prefetched


def test_tidying_removes_empty_output_and_forgets(lab: Lab) -> None:
    one, _ = two_workers(lab)
    folder = lab.paths.root / "t1"
    folder.mkdir()
    (job_id,) = lab.submit("t1")
    (folder / "stdout").write_text("said")
    (folder / "stderr").touch()
    lab.pool.tidy([job_id])
    assert (folder / "stderr").exists(), "it has not ended"
    one.begin(1)
    one.end(1)
    lab.look()
    lab.pool.tidy([job_id])
    assert sorted(p.name for p in folder.iterdir()) == ["stdout"]
    assert lab.look() == {}


def test_what_can_never_run_is_refused(lab: Lab) -> None:
    two_workers(lab)
    huge = Resources((Bundle(cpus=100.0),))
    with pytest.raises(RequestRejectedError):
        lab.pool.check(huge)
    (outcome,) = lab.pool.submit([lab.request("t1", huge)])
    assert outcome == Refused("too large", permanent=True)
    (outcome,) = lab.pool.submit([lab.request("t1", Resources((Bundle(cpus=2.0),)))])
    assert outcome == Refused("No worker is free now.", permanent=False)


def test_words_for_people(lab: Lab) -> None:
    assert lab.pool.summary() == "no workers"
    lab.look(MORE)
    lab.worker()
    lab.submit("t1")
    assert lab.pool.summary() == "1 worker: 1 busy, 0 idle; 1 queued"
    assert "w0001 1 CPU" in lab.pool.preview(lab.request("t1"))


def test_nodes_on_which_attempts_die_get_no_more(lab: Lab) -> None:
    one, two = two_workers(lab)
    lab.inner.listed["1"] = replace(lab.inner.listed["1"], nodes="n1")
    lab.inner.listed["2"] = replace(lab.inner.listed["2"], nodes="n2")
    lab.look()
    lab.pool.submit([replace(lab.request("t1"), avoid=("n1",))])
    assert (one.given, two.given) == ([], [1])
    lab.look()
    assert lab.pool.room(ONE) == 0
    assert one.orders.leave == "attempts die on n1"
    lab.look(MORE)
    assert lab.inner.requests[-1].avoid == ("n1",)
