"""Trials that a user adds to a search that is under way, with every kind of scheduler and searcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.resume import ResumeChoice
from hpctune.driver.engine import Driver
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.driver.setup import SearchBinding
from hpctune.model import events as e
from hpctune.model.trial import Phase
from hpctune.schedulers import ASHAScheduler, HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search import Searcher, as_search_algorithm
from hpctune.space import uniform
from hpctune.storage import inbox, journal
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola


def asha() -> ASHAScheduler:
    made = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    made.set_search_properties("loss", "min")
    return made


def hyperband() -> HyperBandScheduler:
    made = HyperBandScheduler(max_t=9)
    made.set_search_properties("loss", "min")
    return made


def median() -> MedianStoppingRule:
    made = MedianStoppingRule(time_attr="training_iteration", grace_period=1)
    made.set_search_properties("loss", "min")
    return made


def pbt() -> PopulationBasedTraining:
    space = {"x": uniform(0.0, 1.0)}
    made = PopulationBasedTraining("training_iteration", perturbation_interval=3, hyperparam_mutations=space)
    made.set_search_properties("loss", "min")
    return made


def finish(simulation: Simulation, driver: Driver) -> None:
    drive([driver], simulation.clock, LeaveRequest())
    assert driver.finished


def added(values: Sequence[float]) -> list[inbox.NewConfig]:
    return [({"x": value}, {"x": value}) for value in values]


@pytest.mark.parametrize("scheduler", [FIFOScheduler, asha, hyperband, median, pbt])
@pytest.mark.parametrize("after_s", [90.0, 100_000.0])
def test_they_run_beside_those_of_the_search(tmp_path: Path, scheduler: Callable[[], Any], after_s: float) -> None:
    curve = Curve(metrics=hyperbola, iterations=10, checkpoint_every=1)
    simulation = Simulation(tmp_path / "exp", num_samples=9, slots=3, scheduler=scheduler, curve=curve)
    driver = simulation.driver()
    driver.start()
    simulation.clock.after(after_s, lambda: inbox.post(simulation.paths, inbox.ADD, trials=added([2.0, 3.0])))
    finish(simulation, driver)
    if after_s > 10_000:  # the search was over before
        simulation.clock.sleep(after_s)
        driver = simulation.driver()
        driver.start(ResumeChoice())
        finish(simulation, driver)
    state = driver.state
    recorded = [r.event for r in journal.read(simulation.paths.journal)]
    assert [v.config["x"] for v in recorded if isinstance(v, e.TrialAdded) and v.command] == [2.0, 3.0]
    assert len(state.trials) == 11
    assert all(trial.phase is Phase.TERMINATED for trial in state.trials.values())
    assert all(state.trials[name].results > 0 for name in state.added)
    again = read_experiment(simulation.paths.root).state
    assert again.trials == state.trials
    events = [type(event) for event in recorded]
    assert events.index(e.CommandReceived) > events.index(e.TrialAdded)
    assert events.count(e.CommandReceived) == 1


def test_what_the_search_suggests_does_not_depend_on_them(tmp_path: Path) -> None:
    suggested = []
    for name, extra in (("with", added([5.0, 6.0])), ("without", [])):
        simulation = Simulation(tmp_path / name, num_samples=12, slots=2)
        driver = simulation.driver()
        driver.start()
        if extra:
            inbox.post(simulation.paths, inbox.ADD, trials=extra)
        finish(simulation, driver)
        suggested.append([t.config["x"] for t in driver.state.trials.values() if t.trial_id not in driver.state.added])
    assert suggested[0] == suggested[1]
    assert len(suggested[0]) == 12


def test_a_searcher_learns_from_them_and_hears_nothing_else(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Learner(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="loss", mode="min")
            self.made = 0

        def set_search_properties(self, *_: Any, **__: Any) -> bool:
            return True

        def suggest(self, trial_id: str) -> dict[str, Any]:
            self.made += 1
            return {"x": self.made / 100}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            heard.append(trial_id)

        def add_evaluated_point(self, parameters: Any, value: Any, error: bool = False, *_: Any, **__: Any) -> None:
            heard.append((parameters, value, error))

    simulation = Simulation(tmp_path / "exp", num_samples=3, slots=1, iterations=2)
    driver = simulation.driver()
    driver._setup.bind_search = SearchBinding(
        as_search_algorithm(Learner()), {"x": uniform(0, 1), "c": 7}, "loss", "min"
    )
    driver.start()
    inbox.post(simulation.paths, inbox.ADD, trials=[({"x": 0.9, "c": 7}, {"x": 0.9})])
    finish(simulation, driver)
    (new,) = driver.state.added
    assert new not in heard
    assert ({"x": 0.9, "c": 7}, pytest.approx(0.9 + 1 / 2), False) in heard
    assert len(heard) == 4


def test_a_stopping_experiment_keeps_them_for_its_resume(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "exp", num_samples=4, slots=1)
    driver = simulation.driver()
    driver.start()
    inbox.post(simulation.paths, inbox.STOP)
    driver.step()
    inbox.post(simulation.paths, inbox.ADD, trials=added([2.0]))
    finish(simulation, driver)
    assert not driver.state.added
    assert inbox.waiting(simulation.paths, driver.state.commands)
    driver = simulation.driver()
    driver.start(ResumeChoice())
    finish(simulation, driver)
    (new,) = driver.state.added
    assert driver.state.trials[new].results == 10
    assert not inbox.waiting(simulation.paths, driver.state.commands)
