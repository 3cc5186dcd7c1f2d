"""The driver dies at its n-th effect on the world, for every n, and the next one goes on as if nothing had happened."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hpctune.core.resume import ResumeChoice
from hpctune.driver.engine import Driver
from hpctune.driver.setup import DriverSetup
from hpctune.model.jobs import JobRequest, JobState, SubmitOutcome
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.output.display.display import SilentDisplay
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.schedulers import ASHAScheduler
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search import BasicVariantGenerator
from hpctune.space import uniform
from hpctune.space.tags import experiment_tag
from hpctune.storage import inbox, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve, SimulatedClock, SimulatedCluster
from tests.support.faultpoints import FaultPoints, Killed, installed

CHECKER = Path(__file__).resolve().parents[2] / "scripts" / "check_experiment.py"
PARTS = 6
"""How many tests share the points, so that they may run side by side."""
QUICK_PARTS = 1
"""How many of them run for every change: one point in six. The others are nightly."""


def _load_checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_experiment", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


checker = _load_checker()


class Clock(SimulatedClock):
    """While it sleeps, others act."""

    points: FaultPoints

    def sleep(self, seconds: float) -> None:
        with self.points.others():
            super().sleep(seconds)


class Cluster(SimulatedCluster):
    """Submissions and cancellations are effects, before and after."""

    points: FaultPoints

    def submit(self, requests: Any) -> list[SubmitOutcome]:
        return [self._one(request) for request in requests]

    def _one(self, request: JobRequest) -> SubmitOutcome:
        self.points.hit(f"submit {request.tag.trial_id}")
        with self.points.others():
            (outcome,) = super().submit([request])
        self.points.hit(f"submitted {request.tag.trial_id}")
        return outcome

    def cancel(self, job_ids: Any) -> None:
        self.points.hit("cancel")
        with self.points.others():
            super().cancel(job_ids)
        self.points.hit("cancelled")


class Search:
    """A small search whose driver may die: 3 trials with checkpoints of which one is kept. "stopped": a user stops one
    of them and adds two others."""

    def __init__(self, kind: str) -> None:
        memory = Path("/dev/shm")
        self.place = Path(tempfile.mkdtemp(prefix="hpctune-points-", dir=memory if memory.is_dir() else None))
        self.paths, self.kind = ExperimentPaths(self.place / "exp"), kind
        self.paths.root.mkdir()
        self.points = FaultPoints(self.paths.root)
        self.clock = Clock()
        curve = Curve(
            metrics=lambda config, i: {"loss": config["x"] / i}, iterations=5, checkpoint_every=1,
            seconds=lambda config: 10.0 + 30.0 * config["x"],
        )  # fmt: skip
        self.cluster = Cluster(self.clock, self.paths.root, curve, slots=2, queue_wait_s=5.0)
        self.clock.points = self.cluster.points = self.points
        self.spec = ExperimentSpec(
            experiment_id="abcde123", name="exp", created_at=0.0, trainable="sim", metric="loss", mode="min",
            num_samples=3, checkpoint=CheckpointPolicy(keep=1), cluster="simulated",
        )  # fmt: skip
        spec_file.write(self.paths, self.spec)
        self.preempted = False

    def _driver(self) -> Driver:
        scheduler = ASHAScheduler(max_t=4, grace_period=1, reduction_factor=2) if self.kind == "asha" else None
        if scheduler is not None:
            scheduler.set_search_properties("loss", "min")
        setup = DriverSetup(
            bind_search=lambda n, seed: BasicVariantGenerator().bind({"x": uniform(0.0, 1.0)}, n, seed),
            scheduler=scheduler or FIFOScheduler(),
            callbacks=[JsonLoggerCallback(), CSVLoggerCallback()],
        )
        display = SilentDisplay()
        return Driver(self.paths, self.spec, setup, self.cluster, self.clock, display, experiment_tag, exit_lag_s=5.0)

    def drive(self, kill_at: int = 0) -> bool:
        """One driver's life; whether it saw the end of the search. Its effects are in ``points.seen``."""
        self.points.kill_at, self.points.dead, self.points.seen = kill_at, False, []
        driver = self._driver()
        try:
            with installed(self.points), self.points.watched():
                driver.start(ResumeChoice(experiment="skip"))
                for _ in range(3000):
                    pause = driver.step()
                    if driver.finished:
                        driver.leave("finished")
                        return True
                    self.clock.sleep(max(pause, 1.0))
                    self._happen(driver)
        except Killed:
            self._bury(driver)
        return False

    def _happen(self, driver: Driver) -> None:
        """Once a job is preempted, and once a user stops a trial and adds some."""
        with self.points.others():
            rows = sum(trial.results for trial in driver.state.trials.values())
            running = [job.job_id for job in self.cluster.jobs_by_id.values() if job.state is JobState.RUNNING]
            if not self.preempted and rows >= 3 and running:
                self.preempted = True
                self.cluster.end(running[0], JobState.PREEMPTED)
            if self.kind == "stopped" and rows >= 6 and not self.paths.inbox.exists():
                inbox.post(self.paths, inbox.STOP, [list(driver.state.trials)[-1]])
                inbox.post(self.paths, inbox.ADD, trials=[({"x": x}, {"x": x}) for x in (0.1, 0.2)])

    @staticmethod
    def _bury(driver: Driver) -> None:
        """What the kernel does for a process that was killed."""
        lease, journal = getattr(driver, "lease", None), getattr(driver, "_journal", None)
        if lease is not None:
            lease._lock.release()
        if journal is not None and journal._fd >= 0:
            os.close(journal._fd)
            journal._fd = -1
        for callback in driver._setup.callbacks:
            while callback._files._open:  # type: ignore[attr-defined]
                os.close(callback._files._open.popitem()[1])  # type: ignore[attr-defined]

    def check(self) -> None:
        """Everything there, everything once, nothing left."""
        judge = checker.Checker(self.paths.root)
        judge.read_journal()
        judge.check_end(False)
        judge.check_files()
        if self.kind == "asha":
            judge.check_asha(4, 1, 2)
        objections = [o for o in judge.objections if not o.startswith("checkpoints: ")]  # these are only made up
        assert objections == []
        state = read_experiment(self.paths.root).state
        assert len(state.trials) == (5 if self.kind == "stopped" else 3)
        if self.kind == "plain":
            assert {trial.results for trial in state.trials.values()} == {5}
        for trial in state.trials.values():
            there = sorted(p.name for p in (self.paths.root / trial.dirname).glob("checkpoint_*"))
            assert there == sorted(c.name for c in trial.checkpoints)
        assert [job for job in self.cluster.jobs_by_id.values() if not job.state.final] == []
        assert [path for path in self.paths.root.rglob(".*") if path.name != ".iteration"] == []

    def close(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


@contextlib.contextmanager
def searching(kind: str) -> Iterator[Search]:
    search = Search(kind)
    try:
        yield search
    finally:
        search.close()


def points_of(kind: str) -> list[str]:
    """The effects of a driver that nothing happens to."""
    with searching(kind) as search:
        assert search.drive()
        search.check()
        return search.points.seen


KINDS = ("plain", "asha", "stopped")


@pytest.mark.parametrize("kind", KINDS)
def test_the_points_are_everything_that_a_driver_does(kind: str) -> None:
    seen = points_of(kind)
    words = {name.split()[0] for name in seen}
    assert {"submit", "submitted", "write", "half", "open", "os.rename", "os.remove", "os.mkdir"} <= words
    files = {name.split()[-1] for name in seen}
    assert {"000001.jsonl", "result.json", "progress.csv"} <= files
    assert any("lease.json" in file for file in files)
    assert any("control.json" in file for file in files)
    assert any("checkpoint_" in file for file in files)
    assert len(seen) > 200


@pytest.mark.parametrize(
    "part", [pytest.param(n, marks=[pytest.mark.nightly] if n >= QUICK_PARTS else []) for n in range(PARTS)]
)
@pytest.mark.parametrize("kind", [*KINDS[:2], pytest.param("stopped", marks=pytest.mark.nightly)])
def test_killed_at_every_point(kind: str, part: int) -> None:
    """And the driver after it once more, somewhere in its recovery."""
    total = len(points_of(kind))
    for number in range(1 + part, total + 1, PARTS):
        with searching(kind) as search:
            assert not search.drive(kill_at=number)
            died_at = search.points.seen[-1]
            try:
                if not search.drive(kill_at=1 + number * 7 % 41):
                    died_at += f", then {search.points.seen[-1]}"
                    assert search.drive()
                search.check()
            except AssertionError as error:
                raise AssertionError(f"after death number {number}, at {died_at}: {error}") from error
