"""A budget of hours in simulated time: nothing passes it, it outlives drivers, and it can be raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpctune.analysis.cost.accounts import OWN_RECORDS
from hpctune.analysis.cost.groups import total
from hpctune.analysis.cost.ledger import ledger
from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.model import events as e
from hpctune.model.budget import Budget
from hpctune.model.trial import Phase
from hpctune.storage import journal
from hpctune.testing.pooled_simulation import PooledSimulation
from hpctune.testing.simulation import QuietDisplay, Simulation


class Told(QuietDisplay):
    """Remembers the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def driven(simulation: Simulation, **changes: Any) -> tuple[ExperimentState, list[str]]:
    """Drive to the end with another driver; its state, and what it told."""
    simulation.spec = type(simulation.spec)(**{**fields(simulation.spec), **changes})
    driver = simulation.driver()
    driver.display = driver._status_publisher._display = Told()
    driver.start()
    drive([driver], simulation.clock, LeaveRequest())
    return driver.state, driver.display.messages


def fields(spec: Any) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def held_hours(simulation: Simulation) -> float:
    return total(ledger(simulation.paths.root, OWN_RECORDS)).cpu_hours_held


@pytest.mark.parametrize("slots", [1, 4, 50])
def test_nothing_passes_a_budget(tmp_path: Path, slots: int) -> None:
    """Trials of ten minutes each: 5 CPU hours are 30 of them, less what is reserved for those that run."""
    simulation = Simulation(tmp_path / "s", num_samples=500, iterations=10, slots=slots, budget=Budget(5.0, "cpuh"))
    state, told = driven(simulation)
    assert (state.ended or "").startswith("budget used up: ")
    assert "hpctune resume" in (state.ended or "")
    assert "--budget 10cpuh" in (state.ended or "")
    if slots < 30:  # with 50 places nothing is known of the trials' length when all of them start
        assert 4.3 <= state.budget_held <= 5.0
        assert held_hours(simulation) <= 5.0
    assert state.budget_held == pytest.approx(held_hours(simulation), rel=0.05)
    assert all(t.phase is Phase.TERMINATED and t.last_iteration == 10 for t in state.trials.values()), (
        "all end normally"
    )
    assert len([text for text in told if "of 5 CPU hours held" in text]) == 1


def test_a_time_limit_keeps_the_first_trials_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any trial is over, a trial may need all of its time limit."""
    simulation = Simulation(tmp_path / "s", num_samples=500, iterations=10, slots=50, budget=Budget(5.0, "cpuh"))

    class Limited:
        time_minutes = 30

    monkeypatch.setattr(type(simulation.cluster), "options", Limited(), raising=False)
    state, _ = driven(simulation)
    assert 4.3 <= state.budget_held <= 5.0
    assert first_wave(simulation) == 10


def first_wave(simulation: Simulation) -> int:
    """How many trials had jobs at a time before the first was over."""
    state, most = ExperimentState(simulation.spec), 0
    for recorded in journal.read(simulation.paths.journal):
        state.apply(recorded)
        if isinstance(recorded.event, e.TrialEnded):
            break
        most = max(most, state.live)
    return most


def test_it_survives_a_resume_and_can_be_raised(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path / "s", num_samples=50, iterations=10, slots=4, budget=Budget(3.0, "cpuh"))
    first, told = driven(simulation)
    assert len(told) == 1
    again, told = driven(simulation)
    assert (len(again.trials), again.budget_held, told) == (len(first.trials), first.budget_held, []), "nothing starts"
    assert (again.ended or "").startswith("budget used up")
    raised, told = driven(simulation, budget=Budget(100.0, "cpuh"))
    assert raised.ended == "all trials are done"
    assert len(raised.trials) == 50
    assert raised.budget_held == pytest.approx(50 / 6, rel=0.1)
    assert told == []


def test_jobs_that_go_on_without_a_driver_count(tmp_path: Path) -> None:
    simulation = Simulation(
        tmp_path / "s", num_samples=50, iterations=100, slots=2, max_concurrent=2, budget=Budget(6.0, "cpuh")
    )
    driver: Driver = simulation.driver()
    driver.start()
    while simulation.simulated_s < 900:
        simulation.clock.sleep(driver.step() or 30.0)
    driver.leave("enough")
    assert driver.state.budget_held == pytest.approx(0.5, abs=0.05)
    simulation.clock.sleep(3600.0)
    state, _ = driven(simulation)
    assert len(state.trials) == 3, "each needs 1.7 hours: a fourth would pass the budget"
    assert state.budget_held == pytest.approx(5.0, abs=0.1)


def test_no_budget_costs_nothing(tmp_path: Path) -> None:
    state, told = driven(Simulation(tmp_path / "s", num_samples=5, iterations=3, slots=4))
    assert (state.budget_held, told) == (0.0, [])
    assert all(
        r.event.held == 0.0 for r in journal.read(tmp_path / "s" / "journal") if isinstance(r.event, e.BudgetUsed)
    )


def test_in_a_pool_the_hours_of_workers_count(tmp_path: Path) -> None:
    simulation = PooledSimulation(
        tmp_path / "s", num_samples=500, iterations=10, workers=4, budget=Budget(5.0, "cpuh"), poll_s=5.0
    )
    state, _ = driven(simulation)
    assert (state.ended or "").startswith("budget used up: ")
    assert 4.0 <= state.budget_held <= 5.2
    assert state.budget_held == pytest.approx(held_hours(simulation), rel=0.05)
