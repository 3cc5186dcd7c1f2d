"""When the files of jobs go: after it is durable that their trial is over, and not where it has been reopened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.state import ExperimentState
from hpctune.driver.perform import Performer
from hpctune.model import events as e
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase
from hpctune.storage.layout import ExperimentPaths
from hpctune.testing.simulation import Simulation

SPEC = ExperimentSpec("abcde", "exp", 0.0, "train", metric="loss", mode="min", num_samples=1)
BEGUN = (
    e.TrialAdded("t", 0, "train", "dir", "0", {}, {}, Resources()), e.SubmitRequested("t", 1),
    e.SubmitAcknowledged("t", 1, "7"), e.JobEnded("t", 1, JobState.FAILED, ""),
)  # fmt: skip
NO_DEMAND = e.TrialEnded("t", Phase.ERROR, "it failed")
AGAIN = e.TrialReopened("t", restart=True)


class Tidied:
    """A cluster that notes what it is to tidy."""

    def __init__(self) -> None:
        self.tidied: list[str] = []

    def tidy(self, job_ids: Sequence[str]) -> None:
        self.tidied += job_ids


class Bench:
    def __init__(self, root: Path) -> None:
        self.state, self.cluster = ExperimentState(SPEC), Tidied()
        cluster: Any = self.cluster
        clock: Any = None
        self.performer = Performer(ExperimentPaths(root), self.state, cluster, clock, {})

    def take(self, *events: e.Event) -> None:
        for event in events:
            self.state.apply(e.Recorded(0.0, event))
            self.performer.take(event)

    def tidied(self, *jobs: JobStatus) -> list[str]:
        self.performer.tidy(jobs)
        done, self.cluster.tidied = self.cluster.tidied, []
        return done


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.take(*BEGUN)
    return made


def test_only_when_it_is_durable_that_the_trial_is_over(bench: Bench) -> None:
    job = JobStatus("7", Tag("abcde", "t", 1), JobState.FAILED)
    bench.performer.durable()
    assert bench.tidied(job) == []
    bench.take(NO_DEMAND)
    assert bench.tidied(job) == []
    bench.performer.durable()
    assert bench.tidied(job) == ["7"]


def test_not_while_the_job_is_there(bench: Bench) -> None:
    bench.take(NO_DEMAND)
    bench.performer.durable()
    assert bench.tidied(JobStatus("7", Tag("abcde", "t", 1), JobState.COMPLETING)) == []
    assert bench.tidied() == ["7"]


@pytest.mark.parametrize("durable", [False, True])
def test_not_where_the_trial_goes_on_after_all(bench: Bench, durable: bool) -> None:
    """The next attempt writes to the same files."""
    bench.take(NO_DEMAND)
    if durable:
        bench.performer.durable()
    bench.take(AGAIN)
    bench.performer.durable()
    assert bench.tidied() == []
    bench.take(NO_DEMAND, e.TrialFinalized("t"))
    bench.performer.durable()
    assert bench.tidied() == ["7"]


def test_a_new_driver_tidies_what_is_over_and_not_settled(tmp_path: Path) -> None:
    for settled, expected in ((False, ["7"]), (True, [])):
        bench = Bench(tmp_path)
        bench.take(*BEGUN, NO_DEMAND, *([e.TrialFinalized("t")] if settled else []))
        bench.performer.begin()
        bench.performer.durable()
        assert bench.tidied() == expected


def test_a_cluster_that_is_away_at_the_end_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So no script of a job stays behind because the controller was restarted in that moment."""
    simulation = Simulation(tmp_path / "exp", num_samples=1, iterations=1)
    driver = simulation.driver()
    driver.start()
    while not driver.finished:
        simulation.clock.sleep(max(driver.step(), 1.0))
    simulation.cluster.outage = True
    tidied: list[str] = []
    monkeypatch.setattr(type(simulation.cluster), "tidy", lambda self, jobs: tidied.extend(jobs))
    driver._performer.cleanup_pending |= set(simulation.cluster.jobs_by_id)
    simulation.clock.after(5.0, lambda: setattr(simulation.cluster, "outage", False))
    driver.leave("finished")
    assert set(tidied) == set(simulation.cluster.jobs_by_id)


def test_the_cluster_tidies_at_the_end_even_if_it_has_forgotten_all_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that restarts forgets the jobs of its last seconds. Their scripts are there nevertheless."""
    simulation = Simulation(tmp_path / "exp", num_samples=1, iterations=1)
    driver = simulation.driver()
    driver.start()
    while not driver.finished:
        simulation.clock.sleep(max(driver.step(), 1.0))
    simulation.cluster.jobs_by_id.clear()
    driver._performer.cleanup_pending.clear()
    calls: list[list[str]] = []
    monkeypatch.setattr(type(simulation.cluster), "tidy", lambda self, jobs: calls.append(list(jobs)))
    driver.leave("finished")
    assert calls == [[]]
