"""What every ``Cluster`` must do: a suite for those who write one.

Subclass :class:`ClusterSuite` in a test module, give it :meth:`ClusterSuite.make`, and pytest runs the rest::

    class TestMyCluster(ClusterSuite):
        def make(self, experiment_dir, experiment_id, clock):
            return MyCluster(experiment_dir, experiment_id, clock)
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pytest

from hpctune.errors import RequestRejectedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused
from hpctune.model.resources import Bundle, Resources
from hpctune.ports import NO_DEMAND, Clock, Cluster, Demand

NASTY = 'it\'s a "trial" $(touch pwned) `id` %j %% #1 ; & | * ü'
_PRINT = "import os,sys; print('out', os.environ.get('SUITE')); print('err', file=sys.stderr)"
_LONG = "import time; print('up', flush=True); time.sleep(600)"


class SuiteClock:
    """The real time."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        time.sleep(seconds)


class ClusterSuite:
    """Conformance tests of one implementation. Override :meth:`make`, and what else does not suit.

    ``runs_commands``: whether commands are really run (a simulator may only pretend). ``timeout_s``: how long, on the
    clock, anything may take. ``impossible``: what no job of this cluster can ever get. ``places``: for how many jobs
    a cluster that grows with what is wanted is to make room first.
    """

    runs_commands = True
    timeout_s = 60.0
    impossible = Resources((Bundle(cpus=100_000.0),))
    places = 3

    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        """A new cluster object for this experiment, as a driver makes one when it starts."""
        raise NotImplementedError

    @cached_property
    def experiment_id(self) -> str:
        """A new one for each test: a cluster shared by several tests must still tell them apart."""
        return uuid.uuid4().hex[:8]

    @pytest.fixture
    def clock(self) -> Clock:
        """The time of the cluster."""
        return SuiteClock()

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """The experiment's directory; its name is as bad as names get."""
        path = tmp_path / NASTY
        path.mkdir()
        return path

    @pytest.fixture
    def cluster(self, directory: Path, clock: Clock) -> Iterator[Cluster]:
        made = self.make(directory, self.experiment_id, clock)
        self.grow(made, clock)
        yield made
        self.end_all(made, clock)
        self.shrink(made, clock)
        made.close()

    def grow(self, cluster: Cluster, clock: Clock) -> None:
        """Let a cluster that grows with what is wanted have places; all others have them at once."""
        tell = getattr(cluster, "demand", None)
        if tell is not None:
            tell(Demand(((Resources(), self.places),)))
            self.until(clock, lambda: cluster.jobs() == [] and cluster.room(Resources()) >= self.places, "places")

    def shrink(self, cluster: Cluster, clock: Clock) -> None:
        """Let a cluster that shrinks with what is wanted do so: nothing of it may be left."""
        tell = getattr(cluster, "demand", None)
        if tell is not None:
            tell(NO_DEMAND)
            self.until(clock, lambda: [cluster.jobs()] and cluster.room(Resources()) == 0, "nobody takes a job")

    def end_all(self, cluster: Cluster, clock: Clock) -> None:
        """Leave no job behind."""
        alive = [job.job_id for job in cluster.jobs() if not job.state.final]
        cluster.cancel(alive)
        self.until(clock, lambda: all(job.state.final for job in cluster.jobs()), "all jobs have ended")

    def request(
        self,
        directory: Path,
        number: int,
        code: str = _PRINT,
        resources: Resources | None = None,
        folder: str | None = None,
    ) -> JobRequest:
        """A request that runs ``code`` in Python, in a trial directory of its own."""
        trial = directory / (folder or f"trial {number}")
        return JobRequest(
            tag=Tag(self.experiment_id, f"t{number}", 1),
            name=f"{NASTY} {number}",
            command=(sys.executable, "-c", code),
            resources=resources or Resources(),
            stdout=trial / "stdout",
            stderr=trial / "stderr",
            env={"SUITE": f"{NASTY}\nsecond line \\ {number}"},
        )

    def submit(self, cluster: Cluster, request: JobRequest) -> str:
        """Submit one request that must be accepted; its job id."""
        (outcome,) = cluster.submit([request])
        assert isinstance(outcome, Accepted), outcome
        return outcome.job_id

    def until(self, clock: Clock, condition: Callable[[], object], what: str) -> None:
        """Wait on ``clock`` until ``condition`` holds."""
        end = clock.now() + self.timeout_s
        while not condition():
            assert clock.now() < end, f"not seen within {self.timeout_s:g} s: {what}"
            clock.sleep(0.05)

    def await_state(self, cluster: Cluster, clock: Clock, job_id: str, *states: JobState) -> JobStatus:
        """The job's status once it is in one of ``states``."""
        end = clock.now() + self.timeout_s
        while True:
            seen = [job for job in cluster.jobs() if job.job_id == job_id]
            if seen and seen[0].state in states:
                return seen[0]
            assert clock.now() < end, f"{job_id} never was {[s.value for s in states]}; last seen: {seen}"
            assert not (seen and seen[0].state.final), f"{job_id} ended otherwise: {seen}"
            clock.sleep(0.05)

    # -- the tests ---------------------------------------------------------------------------------------------------

    def test_nothing_is_known_of_an_experiment_without_jobs(self, cluster: Cluster) -> None:
        assert cluster.jobs() == []

    def test_a_job_is_seen_with_its_tag_until_it_has_completed(
        self, cluster: Cluster, clock: Clock, directory: Path
    ) -> None:
        request = self.request(directory, 1)
        job_id = self.submit(cluster, request)
        (status,) = cluster.jobs()
        assert (status.job_id, status.tag) == (job_id, request.tag)
        assert status.state in (JobState.PENDING, JobState.RUNNING, JobState.COMPLETING, JobState.COMPLETED)
        self.await_state(cluster, clock, job_id, JobState.COMPLETED)

    def test_a_job_that_exits_badly_has_failed(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        self.needs_commands()
        job_id = self.submit(cluster, self.request(directory, 1, "raise SystemExit(3)"))
        self.await_state(cluster, clock, job_id, JobState.FAILED)

    def test_a_running_job_is_running(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        job_id = self.submit(cluster, self.request(directory, 1, _LONG))
        status = self.await_state(cluster, clock, job_id, JobState.RUNNING)
        assert status.ends_at is None or status.ends_at > clock.now()

    def test_output_and_environment_arrive(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        self.needs_commands()
        request = self.request(directory, 1)
        self.await_state(cluster, clock, self.submit(cluster, request), JobState.COMPLETED)
        self.until(clock, request.stdout.exists, "stdout")
        assert request.stdout.read_text() == f"out {request.env['SUITE']}\n"
        assert request.stderr.read_text() == "err\n"
        assert not list(directory.rglob("pwned")), "something ran a name as a command"

    def test_output_is_appended(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        self.needs_commands()
        request = self.request(directory, 1)
        request.stdout.parent.mkdir()
        request.stdout.write_text("before\n")
        self.await_state(cluster, clock, self.submit(cluster, request), JobState.COMPLETED)
        assert request.stdout.read_text().startswith("before\nout ")

    @pytest.mark.parametrize("folder", ["back\\slash", "line\nbreak", "%%j", "-rf", "a" * 200])
    def test_directories_of_any_name(self, cluster: Cluster, clock: Clock, directory: Path, folder: str) -> None:
        self.needs_commands()
        request = self.request(directory, 1, folder=folder)
        self.await_state(cluster, clock, self.submit(cluster, request), JobState.COMPLETED)
        assert request.stdout.read_text().startswith("out ")

    def test_several_at_once(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        count = max(1, min(3, cluster.room(Resources())))
        outcomes = cluster.submit([self.request(directory, n) for n in range(count)])
        ids = [o.job_id for o in outcomes if isinstance(o, Accepted)]
        assert len(set(ids)) == count
        for job_id in ids:
            self.await_state(cluster, clock, job_id, JobState.COMPLETED)
        assert {job.tag.trial_id for job in cluster.jobs()} == {f"t{n}" for n in range(count)}

    def test_room_shrinks_with_every_job(self, cluster: Cluster, directory: Path) -> None:
        before = cluster.room(Resources())
        assert before >= 1
        self.submit(cluster, self.request(directory, 1, _LONG))
        assert cluster.room(Resources()) < before

    def test_a_running_job_can_be_cancelled(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        job_id = self.submit(cluster, self.request(directory, 1, _LONG))
        self.await_state(cluster, clock, job_id, JobState.RUNNING)
        cluster.cancel([job_id])
        self.await_state(cluster, clock, job_id, JobState.CANCELLED)
        cluster.cancel([job_id])

    def test_a_job_cancelled_at_once_never_completes(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        job_id = self.submit(cluster, self.request(directory, 1, _LONG))
        cluster.cancel([job_id])
        self.await_state(cluster, clock, job_id, JobState.CANCELLED)

    def test_cancelling_what_nobody_knows_is_no_error(self, cluster: Cluster) -> None:
        cluster.cancel([])
        cluster.cancel(["999999", "local-nobody", "what is this"])

    def test_a_new_driver_finds_the_jobs_of_the_last(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        request = self.request(directory, 1, _LONG)
        job_id = self.submit(cluster, request)
        cluster.close()
        again = self.make(directory, self.experiment_id, clock)
        status = self.await_state(again, clock, job_id, JobState.RUNNING)
        assert status.tag == request.tag
        again.cancel([job_id])
        self.await_state(again, clock, job_id, JobState.CANCELLED)
        again.close()

    def test_jobs_of_other_experiments_are_not_seen(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        self.submit(cluster, self.request(directory, 1, _LONG))
        other = self.make(directory, "other", clock)
        assert other.jobs() == []
        other.close()

    def test_the_impossible_is_rejected_and_the_possible_is_not(self, cluster: Cluster, directory: Path) -> None:
        cluster.check(Resources())
        with pytest.raises(RequestRejectedError):
            cluster.check(self.impossible)

    def test_what_is_refused_makes_no_job(self, cluster: Cluster, directory: Path) -> None:
        custom = Resources((Bundle(custom={"unobtainium": 1.0}),))
        (outcome,) = cluster.submit([self.request(directory, 1, resources=custom)])
        if isinstance(outcome, Refused):
            assert cluster.jobs() == []

    def test_preview_shows_what_would_run(self, cluster: Cluster, directory: Path) -> None:
        assert "import os,sys" in cluster.preview(self.request(directory, 1))
        assert cluster.jobs() == []

    def test_tidy_leaves_no_files_of_ended_jobs(self, cluster: Cluster, clock: Clock, directory: Path) -> None:
        job_id = self.submit(cluster, self.request(directory, 1))
        self.await_state(cluster, clock, job_id, JobState.COMPLETED)
        cluster.tidy([job_id, "999999", "../../escape"])
        self.shrink(cluster, clock)
        jobs = directory / "jobs"
        assert not jobs.exists() or list(jobs.iterdir()) == []

    def test_calls_are_counted(self, cluster: Cluster) -> None:
        before = cluster.stats()
        cluster.jobs()
        assert cluster.stats().total - before.total in (0, 1)

    def needs_commands(self) -> None:
        """Skip if commands are not really run."""
        if not self.runs_commands:
            pytest.skip("this cluster does not run commands")
