"""Driving searchers in tests: by hand, one trial at a time, and in a whole simulated experiment that may be killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.model import events as e
from hpctune.schedulers import FIFOScheduler, SchedulerPolicy
from hpctune.search import Searcher, SearcherPolicy, SearchGenerator
from hpctune.storage import journal
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation

Loss = Callable[[Mapping[str, Any]], Any]


def ask(searcher: Searcher, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Ask for so many configurations without telling anything."""
    return [config for i in range(count) if isinstance(config := searcher.suggest(f"t{first + i}"), dict)]


def ask_and_tell(
    searcher: Searcher, loss: Loss, count: int, metric: str = "loss", first: int = 0
) -> list[dict[str, Any]]:
    """Ask for so many configurations and tell each one's value before the next; a value None is a failed trial."""
    configs = []
    for number in range(first, first + count):
        [config] = ask(searcher, 1, number)
        configs.append(config)
        value = loss(config)
        row = None if value is None else {metric: value, "training_iteration": 1}
        if row is not None:
            searcher.on_trial_result(f"t{number}", row)
        searcher.on_trial_complete(f"t{number}", row, error=row is None)
    return configs


class Experiment:
    """A simulated experiment of this searcher: trials of three results, which end one after another."""

    def __init__(
        self,
        root: Path,
        searcher: Searcher,
        space: Mapping[str, Any],
        loss: Loss,
        trials: int,
        at_a_time: int = 1,
        scheduler: Callable[[], SchedulerPolicy] = FIFOScheduler,
        iterations: int = 3,
    ) -> None:
        def metrics(config: Mapping[str, Any], iteration: int) -> Mapping[str, Any]:
            return {"loss": loss(config) + 1.0 / iteration}

        curve = Curve(
            metrics, iterations, seconds=lambda config: 60.0 + len(repr(config)) % 7, checkpoint_every=1, saves=True
        )
        self.sim = Simulation(
            root, num_samples=trials, slots=50, curve=curve, scheduler=scheduler, max_concurrent=at_a_time, seed=7
        )
        self._scheduler, self.searcher, self.space = scheduler, searcher, space
        self.sim.setup.bind_search = self.bind

    def bind(self, num_samples: int, seed: int) -> SearcherPolicy:
        """What every driver does with the one searcher object of the script."""
        return SearchGenerator(self.searcher).bind(self.space, num_samples, seed, metric="loss", mode="min")

    def run(self, kill_every: int | None = None) -> list[dict[str, Any]]:
        """Drive to the end; a driver dies at each so many turns, and another takes over. Returns the configs."""
        turns = 0
        while True:
            self.sim.setup.scheduler = self._scheduler()
            driver = self.sim.driver()
            driver.start()
            while not driver.finished:
                turns += 1
                if kill_every and turns % kill_every == 0:
                    _kill(driver)
                    break
                self.sim.clock.sleep(driver.step())
            else:
                driver.leave("finished")
                return self.configs(driver.state)

    @staticmethod
    def configs(state: ExperimentState) -> list[dict[str, Any]]:
        """The configurations in the order of their suggestion."""
        return [dict(trial.config) for trial in sorted(state.trials.values(), key=lambda trial: trial.index)]

    @property
    def drivers(self) -> int:
        """How many drivers there were."""
        return sum(isinstance(each.event, e.DriverStarted) for each in journal.read(self.sim.paths.journal))

    def replayed(self) -> SearcherPolicy:
        """A fresh searcher that has been told the journal."""
        state = ExperimentState(self.sim.spec)
        policies = self.sim.setup.policies(self.sim.spec, self.sim.spec.num_samples)
        for recorded in journal.read(self.sim.paths.journal):
            state.apply(recorded)
            policies.replay(recorded.event, state)
        assert isinstance(policies.search, SearcherPolicy)
        return policies.search


def _kill(driver: Driver) -> None:
    """The process is gone: nothing is flushed, nobody says goodbye; the system frees its locks."""
    os.close(driver._journal._fd)
    driver.lease._lock.release()
