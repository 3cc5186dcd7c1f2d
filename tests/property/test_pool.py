"""The real driver and the real pool over simulated workers, under the faults of the engine's own world."""

from __future__ import annotations

import random

import pytest

from tests.property.pool_world import PoolWorld
from tests.property.schedule import act


def run_schedule(seed: int, steps: int = 60) -> None:
    """A world of its own, random things, then peace. Raises Violation."""
    rng = random.Random(seed)
    world = PoolWorld(
        workers=rng.choice((1, 2, 3)),
        places=rng.choice((1, 1, 2)),
        prefetch=rng.random() < 0.7,
        num_samples=rng.choice((2, 4, 6)),
        slots=rng.choice((1, 3)),
        keep=rng.choice((1, None)),
    )
    try:
        for _ in range(steps):
            act(world, rng)
            world.invariants()
        world.drain()
    finally:
        world.close()


@pytest.mark.parametrize("block", range(6))
def test_random_schedules(block: int) -> None:
    for seed in range(12 * block, 12 * (block + 1)):
        run_schedule(seed)
