"""Searches against the clock on a simulated cluster that makes every job wait, with a job a trial and with a pool."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.schedulers import ASHAPromotionScheduler, ASHAScheduler, SchedulerPolicy
from hpctune.schedulers.base import FIFOScheduler
from hpctune.space import uniform
from hpctune.stopper import Stopper
from hpctune.testing.pooled_simulation import PooledSimulation
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation
from tests.searchers.problems import HARTMANN_A, HARTMANN_ALPHA, HARTMANN_P

R = 27
"""Epochs of a full training."""
EPOCH_S = 60.0
FULL_S = R * EPOCH_S
PLACES = 8
POLL_S = 20.0

LEAST = -3.32237
"""The minimum of Hartmann's function of six variables."""


def hartmann(config: Mapping[str, Any], epoch: int) -> Mapping[str, float]:
    """The regret of Hartmann's function of six variables; less training blurs it (Kandasamy et al. 2017, appendix D).

    Where the published function is nearly as good after the first epoch as after the last, a training starts from
    nothing; so a term is added that vanishes at the end, and that misleads: some are slow at first.
    """
    short = 1.0 - min(epoch / R, 1.0)
    value = 0.0
    point = [config[f"x{i}"] for i in range(6)]
    for alpha, weights, centres in zip(HARTMANN_ALPHA, HARTMANN_A, HARTMANN_P, strict=True):
        distance = sum(w * (x - p) ** 2 for w, x, p in zip(weights, point, centres, strict=True))
        value -= (alpha - 0.1 * short) * math.exp(-distance)
    return {"loss": value - LEAST + 3.0 * short**3 * (0.25 + 0.75 * config["x0"])}


@dataclass(frozen=True, slots=True)
class Problem:
    """A training of R epochs of one minute on average. ``loss(config, epoch)``: to be made small; ``least``: how small
    it can be."""

    name: str
    space: Mapping[str, Any]
    loss: Callable[[Mapping[str, Any], int], Mapping[str, float]]
    epoch_s: Callable[[Mapping[str, Any]], float] = lambda config: EPOCH_S
    least: float = 0.0


HARTMANN = Problem("MF-Hartmann 6", {f"x{i}": uniform(0.0, 1.0) for i in range(6)}, hartmann)

SCHEDULERS: Mapping[str, Callable[[], SchedulerPolicy]] = {
    "random": FIFOScheduler,
    "ASHA": lambda: ASHAScheduler(metric="loss", mode="min", max_t=R, reduction_factor=3),
    "ASHA, all rungs": lambda: ASHAScheduler(
        metric="loss", mode="min", max_t=R, reduction_factor=3, adapt_to_queue=False
    ),
    "ASHA (promotion)": lambda: ASHAPromotionScheduler(metric="loss", mode="min", max_t=R, reduction_factor=3),
}


@dataclass(slots=True)
class Race(Stopper):
    """What has been found, and paid for, by when. Times in units of one full training."""

    times: list[float] = field(default_factory=list)
    bests: list[float] = field(default_factory=list)
    allocated: list[float] = field(default_factory=list)
    simulation: Simulation | None = None
    trials: int = 0
    held: float = 0.0
    """Allocated time so far."""

    def watch(self, simulation: Simulation) -> None:
        """Look at what is allocated, again and again."""
        self.simulation = simulation
        self._look()

    def _look(self) -> None:
        if self.simulation is not None:
            self.held += self.simulation.cluster.running * POLL_S / FULL_S
            self.simulation.clock.after(POLL_S, self._look)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        assert self.simulation is not None
        if not self.bests or result["loss"] < self.bests[-1]:
            self.times.append(self.simulation.simulated_s / FULL_S)
            self.bests.append(result["loss"])
            self.allocated.append(self.held)
        return False

    def stop_all(self) -> bool:
        return False

    def best_at(self, time: float) -> float:
        """The best value by then."""
        return next((b for t, b in zip(reversed(self.times), reversed(self.bests), strict=True) if t <= time), math.inf)

    def best_for(self, allocated: float) -> float:
        """The best value for so much allocated time."""
        pairs = zip(reversed(self.allocated), reversed(self.bests), strict=True)
        return next((b for a, b in pairs if a <= allocated), math.inf)

    def reached(self, target: float) -> float:
        """When a value as good as ``target`` was there first."""
        return next((t for t, b in zip(self.times, self.bests, strict=True) if b <= target), math.inf)


def race(
    problem: Problem,
    scheduler: str,
    *,
    pool: bool,
    wait: float,
    seed: int,
    length: float,
    places: int = PLACES,
    poll_s: float = POLL_S,
) -> Race:
    """Search for ``length`` with ``places`` jobs at a time, each of which waits for ``wait`` in the queue (both in full
    trainings); ``pool``: the jobs are workers that stay."""
    watch = Race()

    def row(config: Mapping[str, Any], epoch: int) -> Mapping[str, float]:
        return {**problem.loss(config, epoch), "time_total_s": epoch * problem.epoch_s(config)}

    curve = Curve(metrics=row, iterations=R, seconds=problem.epoch_s, checkpoint_every=1)
    given: dict[str, Any] = {
        "num_samples": -1, "slots": places, "queue_wait_s": wait * FULL_S, "curve": curve, "stopper": watch,
        "scheduler": SCHEDULERS[scheduler], "space": problem.space, "poll_s": poll_s, "seed": seed,
        "time_budget_s": length * FULL_S, "max_concurrent": places,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hpctune-race-") as folder:
        root = Path(folder) / "exp"
        simulation = PooledSimulation(root, workers=places, **given) if pool else Simulation(root, **given)
        watch.watch(simulation)
        watch.trials = len(simulation.run().trials)
        watch.simulation = None
    return watch
