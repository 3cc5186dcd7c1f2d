"""A simulated world in which the real driver lives, crashes and is started again, and the invariants it must keep."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.driver.setup import DriverSetup
from hpctune.model import events as e
from hpctune.model.jobs import JobRequest, JobState, SubmitOutcome
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.model.trial import Phase
from hpctune.ports import Cluster
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search import BasicVariantGenerator
from hpctune.space import uniform
from hpctune.space.tags import experiment_tag
from hpctune.storage import inbox, journal, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.testing.simulated import Curve, SimulatedClock, SimulatedCluster

ITERATIONS = 6
MAX_ADDED = 3
"""Trials that users add."""


class Crash(BaseException):
    """The driver dies here, like by kill -9."""


class Violation(AssertionError):
    """An invariant does not hold. The first argument is its name."""

    def __init__(self, invariant: str, detail: object) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


def check(holds: bool, invariant: str, detail: object = "") -> None:
    if not holds:
        raise Violation(invariant, detail)


class QuietDisplay:
    """Shows nothing."""

    def update(self, *args: object) -> None: ...
    def about(self, facts: Sequence[tuple[str, str]]) -> None: ...

    def message(self, text: str) -> None: ...
    def close(self) -> None: ...


class WatchedCluster(SimulatedCluster):
    """Checks, at the moment of each submission, that its intent is in the journal on disk."""

    before_submit: Callable[[], None] = staticmethod(lambda: None)
    after_submit: Callable[[], None] = staticmethod(lambda: None)
    before_cancel: Callable[[], None] = staticmethod(lambda: None)

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        self.before_submit()
        recorded = list(journal.read(self.root / "journal"))
        intents = {(r.event.trial_id, r.event.attempt) for r in recorded if isinstance(r.event, e.SubmitRequested)}
        for request in requests:
            tag = (request.tag.trial_id, request.tag.attempt)
            check(tag in intents, "intent is journaled before its effect", tag)
        outcomes = super().submit(requests)
        self.after_submit()
        return outcomes

    def cancel(self, job_ids: Sequence[str]) -> None:
        self.before_cancel()
        super().cancel(job_ids)


class World:
    """One experiment of a few trials. ``faults`` counts what was done to it: that many attempts more are explained."""

    shortest_step_s = 1.0
    """Between two turns of the last driver, when all is at peace."""

    def __init__(self, num_samples: int = 4, slots: int = 3, keep: int | None = 1, max_failures: int = 0) -> None:
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="hpctune-world-", dir=memory if memory.is_dir() else None))
        self.paths = ExperimentPaths(self.root / "exp")
        self.paths.root.mkdir()
        self.clock = SimulatedClock()
        curve = Curve(
            metrics=lambda config, i: {"loss": config["x"] / i}, iterations=ITERATIONS, checkpoint_every=2,
            seconds=lambda config: 40.0 + 40.0 * config["x"],
        )  # fmt: skip
        self.cluster = WatchedCluster(self.clock, self.paths.root, curve, slots=slots, queue_wait_s=20.0)
        self.spec = ExperimentSpec(
            experiment_id="abcde123", name="exp", created_at=0.0, trainable="sim", metric="loss", mode="min",
            num_samples=num_samples, max_failures=max_failures, checkpoint=CheckpointPolicy(keep=keep),
            cluster="simulated",
        )  # fmt: skip
        spec_file.write(self.paths, self.spec)
        self.driver: Driver | None = None
        self.crash_in = -1
        self.faults = 0
        self.stopped: set[str] = set()
        self.added = 0
        self.ended_at_claim: dict[str, int] = {}
        self.cluster.before_submit = self.cluster.after_submit = self.cluster.before_cancel = self._fault_point

    # -- what may happen ------------------------------------------------------------------------------------------

    def _fault_point(self) -> None:
        if self.crash_in == 0:
            self.crash_in = -1
            raise Crash
        if self.crash_in > 0:
            self.crash_in -= 1

    def cluster_for_driver(self) -> Cluster:
        """What the next driver gets."""
        return self.cluster

    def after_leaving(self) -> None:
        """What happens once the last driver has left."""

    def start(self) -> None:
        """Start a driver where none lives."""
        if self.driver is not None:
            return
        setup = DriverSetup(
            bind_search=lambda n, seed: BasicVariantGenerator().bind({"x": uniform(0.0, 1.0)}, n, seed),
            scheduler=FIFOScheduler(),
        )
        driver = Driver(
            self.paths, self.spec, setup, self.cluster_for_driver(), self.clock, QuietDisplay(), experiment_tag,
            exit_lag_s=5.0,
        )  # fmt: skip
        driver.start()
        self.driver = driver
        append, one = driver._journal.append, driver._performer._one

        def torn_append(recorded: Sequence[e.Recorded]) -> None:
            self._fault_point()
            if self.crash_in == 0:  # die in the middle of the write
                whole = driver._journal.path.read_bytes()
                append(recorded)
                grown = driver._journal.path.read_bytes()
                os.truncate(driver._journal.path, (len(whole) + len(grown)) // 2)
                self.crash_in = -1
                raise Crash
            append(recorded)
            self._fault_point()

        def one_action(*args: Any) -> None:
            self._fault_point()
            one(*args)

        driver._journal.append, driver._performer._one = torn_append, one_action  # type: ignore[method-assign]

    def crash(self) -> None:
        """Kill the driver, if one lives."""
        if self.driver is None:
            return
        if self.driver._journal._fd < 0:
            self.driver = None  # it had left
            return
        os.close(self.driver._journal._fd)
        # Submissions in the middle of which it dies may never have happened: that much explains a second attempt.
        state = ExperimentState.fold(self.spec, self.recorded())
        self.faults += state.phases[Phase.SUBMITTING]
        self.driver.lease._lock.release()
        self.driver = None

    def step(self, crash_in: int = -1) -> float:
        """One turn of the driver; ``crash_in`` N: it dies at the Nth fault point from here. Returns the pause."""
        if self.driver is None:
            return 1.0
        self.crash_in = crash_in
        try:
            pause = self.driver.step()
        except Crash:
            self.crash()
            return 0.0
        finally:
            self.crash_in = -1
        return pause

    def advance(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def running_jobs(self) -> list[str]:
        return [j.job_id for j in self.cluster.jobs_by_id.values() if j.state is JobState.RUNNING]

    def requeue(self, index: int, zombie: bool) -> None:
        jobs = self.running_jobs()
        if jobs:
            self.faults += 1
            self.cluster.requeue(jobs[index % len(jobs)], zombie=zombie)

    def kill_job(self, index: int, state: JobState) -> None:
        jobs = self.running_jobs()
        if jobs:
            self.faults += 1
            self.cluster.end(jobs[index % len(jobs)], state)

    def stop_trial(self, index: int) -> None:
        """As ``hpctune stop TRIAL`` does."""
        assert self.driver is not None
        trial_id = list(self.driver.state.trials)[index % len(self.driver.state.trials)]
        self.stopped.add(trial_id)
        inbox.post(self.paths, "stop", [trial_id])

    def add_trials(self, number: int) -> None:
        """As ``hpctune add`` does."""
        number = min(number, MAX_ADDED - self.added)
        if number and self.driver is not None and not self.driver.finished:
            self.added += number
            inbox.post(self.paths, inbox.ADD, trials=[({"x": n / 4}, {"x": n / 4}) for n in range(number)])

    # -- what must hold -------------------------------------------------------------------------------------------

    def recorded(self) -> list[e.Recorded]:
        return list(journal.read(self.paths.journal))

    def invariants(self) -> None:
        """Everything that must hold at any moment."""
        recorded = self.recorded()
        state = ExperimentState.fold(self.spec, recorded)
        if self.driver is not None and not self.driver._buffer:
            check(state.trials == self.driver.state.trials, "the journal replays to the state")
        self._results_counted_once(recorded)
        self._one_effective_run()
        self._claims(recorded)
        self._restarts(recorded)
        explained = len(state.trials) + self.faults + self.cluster.lost_submissions
        attempts = sum(t.attempts for t in state.trials.values())
        check(attempts <= explained, "no attempt without a cause", f"{attempts} attempts, {self.faults} faults")

    def _results_counted_once(self, recorded: Sequence[e.Recorded]) -> None:
        seen: dict[str, list[int]] = defaultdict(list)
        runs: dict[str, tuple[int, int]] = {}
        for r in recorded:
            if isinstance(r.event, e.ResultReported) and r.event.verdict is e.Verdict.COUNTED:
                run = r.event.run
                seen[run.trial_id].append(r.event.row["training_iteration"])
                order = (run.attempt, run.restart)
                check(order >= runs.get(run.trial_id, order), "no result of a superseded run counts", run)
                runs[run.trial_id] = order
        for trial_id, iterations in seen.items():
            expected = list(range(1, len(iterations) + 1))
            check(iterations == expected, "each iteration counts exactly once", f"{trial_id}: {iterations}")

    def _one_effective_run(self) -> None:
        effective: dict[str, list[object]] = defaultdict(list)
        for run in self.cluster.history:
            if run.alive and not run.blind and run.control() is not None:
                effective[run.key.trial_id].append(run.key)
        for trial_id, keys in effective.items():
            check(len(keys) <= 1, "no two runs of a trial have effect", f"{trial_id}: {keys}")
        tags = [j.tag for j in self.cluster.jobs_by_id.values() if not j.state.final]
        check(len(tags) == len(set(tags)), "no submission is repeated", tags)

    def _claims(self, recorded: Sequence[e.Recorded]) -> None:
        revoked = {(r.event.trial_id, r.event.attempt) for r in recorded if isinstance(r.event, e.AttemptRevoked)}
        started = {r.event.run for r in recorded if isinstance(r.event, e.RunStarted)}
        for run in self.cluster.history:
            key = (run.key.trial_id, run.key.attempt)
            earlier = run.key.restart > 0 or run.key in started  # what is revoked after a requeue is the next run
            check(earlier or key not in revoked, "a revoked attempt is never claimed", run.key)
        settled = {r.event.trial_id for r in recorded if isinstance(r.event, e.TrialFinalized)}
        for trial_id in settled:
            claims = sum(run.key.trial_id == trial_id for run in self.cluster.history)
            at_end = self.ended_at_claim.setdefault(trial_id, claims)
            check(claims == at_end, "a finished trial never runs again", trial_id)

    def _restarts(self, recorded: Sequence[e.Recorded]) -> None:
        newest: dict[str, int] = defaultdict(int)
        expected: dict[tuple[str, int], int] = {}
        for r in recorded:
            match r.event:
                case e.ResultReported(checkpoint=checkpoint) if checkpoint is not None:
                    newest[r.event.run.trial_id] = checkpoint.iteration
                case e.SubmitRequested():
                    expected[(r.event.trial_id, r.event.attempt)] = newest[r.event.trial_id]
        for run in self.cluster.history:
            least = expected.get((run.key.trial_id, run.key.attempt), 0)
            check(run.started_from >= least, "a restart begins at the newest checkpoint", (run.key, run.started_from))

    def drain(self) -> None:
        """Let the world end in peace; then nothing may be left, and nothing may be missing."""
        self.cluster.outage, self.cluster.answers = False, []
        for _ in range(3000):
            self.start()
            self.advance(max(self.step(), self.shortest_step_s))
            if self.driver is not None and self.driver.finished:
                self.driver.leave("finished")
                break
        check(self.driver is not None and self.driver.finished, "every experiment ends", self.unfinished())
        assert self.driver is not None
        self.after_leaving()
        left = [j.job_id for j in self.cluster.jobs_by_id.values() if not j.state.final]
        check(not left, "no job is left", left)
        self.advance(self.cluster.min_job_age_s)
        self.invariants()
        state = self.driver.state
        check(len(state.trials) == self.spec.num_samples + self.added, "every trial is made", len(state.trials))
        for trial in state.trials.values():
            if trial.phase is Phase.TERMINATED and trial.trial_id not in self.stopped:
                check(trial.results == ITERATIONS, "no result is lost", f"{trial.name}: {trial.results}")
        allowed = {Phase.TERMINATED, Phase.ERROR}
        check(all(t.phase in allowed and t.finalized for t in state.trials.values()), "every trial is settled")
        files = [*self.paths.root.glob("*/run-*"), *self.paths.root.glob("*/control.json")]
        check(not files, "no working file is left", files)

    def unfinished(self) -> object:
        return self.driver and [(t.name, t.phase, t.attempt) for t in self.driver.state.active_trials()]

    def close(self) -> None:
        self.crash()
        shutil.rmtree(self.root, ignore_errors=True)
