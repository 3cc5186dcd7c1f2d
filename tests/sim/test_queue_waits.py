"""What waiting in the queue does to early stopping, with a job a trial and with workers that stay.

A smaller version of scripts/bench/queue_waits.py: four places, ten seeds, medians.
"""

from __future__ import annotations

import statistics
from functools import cache

import pytest

from tests.sim.queue_race import HARTMANN, Race, race

SEEDS = range(10)
PLACES, LENGTH = 4, 4.0


@cache
def races(search: str, pool: bool, wait: float) -> list[Race]:
    return [
        race(HARTMANN, search, pool=pool, wait=wait, seed=seed, length=LENGTH, places=PLACES, poll_s=30.0)
        for seed in SEEDS
    ]


def best(search: str, pool: bool, wait: float) -> float:
    return statistics.median(each.best_at(LENGTH) for each in races(search, pool, wait))


def trials(search: str, pool: bool, wait: float) -> float:
    return statistics.median(each.trials for each in races(search, pool, wait))


@pytest.mark.parametrize("wait", [*(pytest.param(wait, marks=pytest.mark.nightly) for wait in (0.0, 1 / 3)), 1.0])
def test_on_workers_early_stopping_keeps_its_advantage_whatever_the_queue(wait: float) -> None:
    """Regrets from 1.5 to 1.8 against 2.4 to 2.6."""
    assert best("ASHA", True, wait) < best("random", True, wait) - 0.4
    assert trials("ASHA", True, wait) > 3 * trials("random", True, wait)


def test_with_a_job_a_trial_a_wait_of_one_training_takes_it_away() -> None:
    """2.59 against 2.56: so many small jobs wait far longer than they run."""
    assert best("ASHA", False, 1.0) > best("random", False, 1.0) - 0.2
    assert best("ASHA", False, 1.0) > best("ASHA", True, 1.0) + 0.4


def test_a_worker_waits_once() -> None:
    """On workers a wait of R costs the first quarter of the four R; with a job a trial most of the time."""
    held = statistics.median(each.held for each in races("ASHA", True, 1.0))
    alone = statistics.median(each.held for each in races("ASHA", False, 1.0))
    assert held == pytest.approx(PLACES * (LENGTH - 1.0), rel=0.05)
    assert alone < held / 2
