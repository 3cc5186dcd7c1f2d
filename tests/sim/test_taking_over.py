"""A driver that takes over an experiment in which nothing lives any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.core.resume import ResumeChoice
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.model.jobs import JobStatus, Refused
from hpctune.model.resources import Resources
from hpctune.testing.simulated import SimulatedCluster
from hpctune.testing.simulation import Simulation


def test_a_finished_experiment_ends_again_where_old_jobs_take_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that counts what it remembers of earlier drivers' jobs has no room until it is asked for the jobs."""
    simulation = Simulation(tmp_path / "exp", num_samples=3, iterations=2)
    simulation.run()
    asked = []
    jobs = SimulatedCluster.jobs

    def looking(cluster: SimulatedCluster) -> list[JobStatus]:
        asked.append(True)
        return jobs(cluster)

    def room(cluster: SimulatedCluster, resources: Resources) -> int:
        return 10 if asked else 0

    monkeypatch.setattr(SimulatedCluster, "jobs", looking)
    monkeypatch.setattr(SimulatedCluster, "room", room)
    driver = simulation.driver()
    driver.start(ResumeChoice())
    turns = LeaveRequest()
    simulation.clock.after(3600.0, lambda: setattr(turns, "reason", "it never ends"))
    drive([driver], simulation.clock, turns)
    assert driver.finished
    assert len(driver.state.trials) == 3


def test_what_an_error_of_the_whole_experiment_ended_goes_on(tmp_path: Path) -> None:
    """No job could be had, so no trial ran. When that is mended, all of them do."""
    simulation = Simulation(tmp_path / "exp", num_samples=3, iterations=2)
    refused = Refused("Invalid partition", permanent=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedCluster, "submit", lambda cluster, requests: [refused] * len(requests))
        state = simulation.run()
    assert state.stopping is not None
    assert state.stopping.reason == "Invalid partition"
    assert state.trials
    assert {trial.results for trial in state.trials.values()} == {0}
    driver = simulation.driver()
    driver.start(ResumeChoice())
    turns = LeaveRequest()
    simulation.clock.after(3600.0, lambda: setattr(turns, "reason", "it never ends"))
    drive([driver], simulation.clock, turns)
    assert [trial.results for trial in driver.state.trials.values()] == [2, 2, 2]
