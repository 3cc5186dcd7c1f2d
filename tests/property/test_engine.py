"""The real driver, journal, lease and files under random crashes, lost answers, requeues, zombies and outages."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hpctune.model.jobs import JobState
from hpctune.testing.simulated import Answer
from tests.property.schedule import run_schedule
from tests.property.world import World


class Engine(RuleBasedStateMachine):
    """Hypothesis chooses what happens, and shrinks what breaks an invariant."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @precondition(lambda self: self.world.driver is None)
    @rule()
    def start(self) -> None:
        self.world.start()

    @precondition(lambda self: self.world.driver is not None)
    @rule(crash_in=st.one_of(st.just(-1), st.integers(0, 12)))
    def step(self, crash_in: int) -> None:
        self.world.step(crash_in)

    @precondition(lambda self: self.world.driver is not None)
    @rule()
    def crash(self) -> None:
        self.world.crash()

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 400.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(index=st.integers(0, 3), zombie=st.booleans())
    def requeue(self, index: int, zombie: bool) -> None:
        self.world.requeue(index, zombie)

    @rule(index=st.integers(0, 3), state=st.sampled_from([JobState.PREEMPTED, JobState.NODE_FAIL, JobState.TIMEOUT]))
    def kill_job(self, index: int, state: JobState) -> None:
        self.world.kill_job(index, state)

    @rule(answer=st.sampled_from([*Answer]))
    def next_answer(self, answer: Answer) -> None:
        self.world.cluster.answers.append(answer)

    @rule()
    def outage_begins_or_ends(self) -> None:
        self.world.cluster.outage = not self.world.cluster.outage

    @rule(number=st.integers(1, 3))
    def add_trials(self, number: int) -> None:
        self.world.add_trials(number)

    @precondition(lambda self: self.world.driver is not None and self.world.driver.state.trials)
    @rule(index=st.integers(0, 3))
    def stop_trial(self, index: int) -> None:
        self.world.stop_trial(index)

    @invariant()
    def everything_holds(self) -> None:
        self.world.invariants()

    def teardown(self) -> None:
        try:
            self.world.drain()
        finally:
            self.world.close()


TestEngine = Engine.TestCase
TestEngine.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("block", [*range(4), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(4, 10))])
def test_random_schedules(block: int) -> None:
    """Long seeded schedules, as the mutants get them."""
    for seed in range(1000 + 12 * block, 1012 + 12 * block):
        run_schedule(seed)
