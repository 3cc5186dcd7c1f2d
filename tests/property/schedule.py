"""Random schedules over a World: the same rules as the state machine, driven by a seed, to compare mutants."""

from __future__ import annotations

import random

from hpctune.model.jobs import JobState
from hpctune.testing.simulated import Answer
from tests.property.world import World

KILLS = (JobState.PREEMPTED, JobState.NODE_FAIL, JobState.TIMEOUT)


def act(world: World, rng: random.Random) -> None:
    """One random thing happens."""
    roll = rng.random()
    if world.driver is None and roll < 0.6:
        world.start()
    elif roll < 0.50:
        world.step()
    elif roll < 0.60:
        world.step(crash_in=rng.randrange(12))
    elif roll < 0.63:
        world.crash()
    elif roll < 0.80:
        world.advance(rng.choice((1.0, 10.0, 60.0, 400.0)))
    elif roll < 0.85:
        world.requeue(rng.randrange(4), zombie=rng.random() < 0.5)
    elif roll < 0.88:
        world.kill_job(rng.randrange(4), rng.choice(KILLS))
    elif roll < 0.94:
        answer = rng.choice((Answer.LOST, Answer.LATE, Answer.NEVER_ARRIVED, Answer.REFUSED))
        world.cluster.answers.append(answer)
    else:
        world.cluster.outage = not world.cluster.outage


def run_schedule(seed: int, steps: int = 60) -> None:
    """A world of its own, ``steps`` random things, then peace. Raises Violation."""
    rng = random.Random(seed)
    world = World(num_samples=rng.choice((2, 4)), slots=rng.choice((1, 3)), keep=rng.choice((1, None)))
    adds = steps // 3 if seed % 3 == 0 else None
    try:
        for number in range(steps):
            act(world, rng)
            if number == adds:
                world.add_trials(2)
            world.invariants()
        world.drain()
    finally:
        world.close()
