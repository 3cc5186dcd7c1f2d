"""What waiting in the queue does to early stopping, with a job a trial and with workers that stay.

A smaller version of scripts/bench/queue_waits.py: four places, ten seeds, medians.
"""

from __future__ import annotations

import runpy
import statistics
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.schedulers import ASHAScheduler
from hpctune.storage import journal
from hpctune.testing.pooled_simulation import PooledSimulation
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from tests.sim.crashes import counted, drivers, final, run_with_crashes
from tests.sim.queue_race import HARTMANN, Problem, Race, race

SEEDS = range(10)
PLACES, LENGTH = 4, 4.0
BENCH = Path(__file__).parents[2] / "scripts" / "bench" / "queue_waits.py"


def problem(name: str) -> Problem:
    """``mlp``: the training of a small network, as recorded for the bench."""
    found = HARTMANN if name == "hartmann" else runpy.run_path(str(BENCH))["PROBLEMS"][name]
    assert isinstance(found, Problem)
    return found


@cache
def races(search: str, pool: bool, wait: float, name: str = "hartmann") -> list[Race]:
    chosen = problem(name)
    return [
        race(chosen, search, pool=pool, wait=wait, seed=seed, length=LENGTH, places=PLACES, poll_s=30.0)
        for seed in SEEDS
    ]


def best(search: str, pool: bool, wait: float, name: str = "hartmann") -> float:
    return statistics.median(each.best_at(LENGTH) for each in races(search, pool, wait, name))


def trials(search: str, pool: bool, wait: float) -> float:
    return statistics.median(each.trials for each in races(search, pool, wait))


@pytest.mark.nightly
@pytest.mark.parametrize("wait", [0.0, 1 / 3, 1.0])
def test_on_workers_early_stopping_keeps_its_advantage_whatever_the_queue(wait: float) -> None:
    """Regrets from 1.5 to 1.8 against 2.4 to 2.6."""
    assert best("ASHA", True, wait) < best("random", True, wait) - 0.4
    assert trials("ASHA", True, wait) > 3 * trials("random", True, wait)


@pytest.mark.nightly
def test_with_a_job_a_trial_a_wait_of_one_training_takes_it_away() -> None:
    """2.59 against 2.56: so many small jobs wait far longer than they run."""
    assert best("ASHA, all rungs", False, 1.0) > best("random", False, 1.0) - 0.2
    assert best("ASHA, all rungs", False, 1.0) > best("ASHA", True, 1.0) + 0.4


@pytest.mark.nightly
def test_rungs_that_follow_the_wait_keep_asha_ahead_on_recorded_curves() -> None:
    """0.5474 after 4 R, against 0.5530 with all rungs and 0.5542 of random search."""
    follows = best("ASHA", False, 1 / 3, "mlp")
    assert follows < best("ASHA, all rungs", False, 1 / 3, "mlp") - 0.003
    assert follows < best("random", False, 1 / 3, "mlp") - 0.003


@pytest.mark.nightly
@pytest.mark.parametrize("wait", [1 / 3, 1.0])
def test_with_rungs_that_follow_the_wait_asha_does_not_fall_behind(wait: float) -> None:
    """On Hartmann's function, regrets of 2.18 and 2.56 against 2.55 and 2.55 of random search."""
    assert best("ASHA", False, wait) < best("random", False, wait) + 0.05
    assert trials("ASHA", False, wait) < trials("ASHA, all rungs", False, wait)


@pytest.mark.nightly
def test_a_worker_waits_once() -> None:
    """On workers a wait of R costs the first quarter of the four R; with a job a trial most of the time."""
    held = statistics.median(each.held for each in races("ASHA", True, 1.0))
    alone = statistics.median(each.held for each in races("ASHA", False, 1.0))
    assert held == pytest.approx(PLACES * (LENGTH - 1.0), rel=0.05)
    assert alone < held / 2


# -- rungs that follow the wait ---------------------------------------------------------------------------------------


def asha(adapt_to_queue: bool = True) -> ASHAScheduler:
    return ASHAScheduler(metric="loss", mode="min", max_t=27, reduction_factor=3, adapt_to_queue=adapt_to_queue)


def timed(config: Mapping[str, Any], epoch: int) -> Mapping[str, float]:
    return {**hyperbola(config, epoch), "time_total_s": 60.0 * epoch}


def simulation(root: Path, *, adapt_to_queue: bool = True, pool: bool = False, **more: Any) -> Simulation:
    """Jobs that wait twenty epochs. With no ``max_concurrent``, four more are in the queue than can run."""
    given: dict[str, Any] = {
        "num_samples": 32, "slots": 4, "max_concurrent": 4, "queue_wait_s": 1200.0,
        "curve": Curve(metrics=timed, iterations=100, checkpoint_every=1), "scheduler": lambda: asha(adapt_to_queue),
    }  # fmt: skip
    given |= more
    return PooledSimulation(root, workers=4, **given) if pool else Simulation(root, **given)


def stops(sim: Simulation) -> list[tuple[str, str]]:
    events = [recorded.event for recorded in journal.read(sim.paths.journal)]
    return [(event.trial_id, event.reason) for event in events if isinstance(event, e.StopRequested)]


def lengths(sim: Simulation) -> set[int]:
    return {len(rows) for rows in counted(sim).values()}


def test_a_replay_and_crashes_change_nothing(tmp_path: Path) -> None:
    """Rungs at 1 and 3 are left out, but for the last trials: behind them no job waits."""
    quiet, crashing = (simulation(tmp_path / name, seed=1) for name in ("quiet", "crashing"))
    expected = quiet.run()
    early = [trial.index for trial in expected.trials.values() if trial.results < 9]
    assert early
    assert min(early) >= 32 - 4
    assert final(run_with_crashes(crashing, asha, every=40)) == final(expected)
    assert drivers(crashing) > 2
    assert stops(crashing) == stops(quiet)
    state, again = ExperimentState(quiet.spec), list[tuple[str, str]]()
    policies = replace(quiet.setup, scheduler=asha()).policies(quiet.spec, quiet.spec.num_samples)
    for recorded in journal.read(quiet.paths.journal):
        state.apply(recorded)
        answers = policies.feed(recorded.event, state)
        again += [(a.trial_id, a.reason) for a in answers if isinstance(a, e.StopRequested)]
    assert again == stops(quiet)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"queue_wait_s": 0.0}, id="no queue"),
        pytest.param({"queue_wait_s": 0.0, "max_concurrent": 0}, id="its own queue"),
        pytest.param({"pool": True}, id="workers"),
        pytest.param({"num_samples": 4, "max_concurrent": 0}, id="all at once"),
    ],
)
def test_where_no_place_stands_empty_every_rung_counts(tmp_path: Path, given: dict[str, Any]) -> None:
    """Not for want of a rule: what waits is nobody, or waits for its own."""
    follows = simulation(tmp_path / "follows", **given)
    plain = simulation(tmp_path / "plain", adapt_to_queue=False, **given)
    assert final(follows.run()) == final(plain.run())
    assert 1 in lengths(follows)


def test_switched_off_every_rung_counts(tmp_path: Path) -> None:
    sim = simulation(tmp_path / "exp", adapt_to_queue=False)
    early = [trial.index for trial in sim.run().trials.values() if trial.results < 9]
    assert min(early) < 8
