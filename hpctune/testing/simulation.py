"""A whole experiment in simulated time: the real driver over a simulated cluster. For tests, and for "what if"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.driver.loop import LeaveRequest, drive
from hpctune.driver.setup import DriverSetup
from hpctune.model.spec import ExperimentSpec
from hpctune.output.callback import Callback
from hpctune.ports import Cluster
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.search import BasicVariantGenerator
from hpctune.space import uniform
from hpctune.space.tags import experiment_tag
from hpctune.stopper import Stopper
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.testing.simulated import Curve, SimulatedClock, SimulatedCluster
from hpctune.trial import Trial


def hyperbola(config: Mapping[str, Any], iteration: int) -> Mapping[str, float]:
    """A loss that falls with the iteration towards ``config["x"]``."""
    return {"loss": config["x"] + 1.0 / iteration}


class QuietDisplay:
    """Shows nothing."""

    def update(self, state: ExperimentState, trials: Sequence[Trial], note: str, now: float, done: bool) -> None:
        """Nothing."""

    def about(self, facts: Sequence[tuple[str, str]]) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Simulation:
    """One experiment in ``root`` (a directory to be made), ready to :meth:`run`.

    ``space``: the search space (default one float ``x``); ``curve``: what a trial does (default: ``iterations``
    results of :func:`hyperbola`, one a simulated minute); ``slots``: jobs that run at a time; ``queue_wait_s``: how
    long each job waits first. Further keywords are fields of ExperimentSpec.
    """

    def __init__(
        self,
        root: Path,
        *,
        num_samples: int = 100,
        iterations: int = 10,
        slots: int = 100,
        queue_wait_s: float = 0.0,
        space: Mapping[str, Any] | None = None,
        curve: Curve | None = None,
        scheduler: Callable[[], SchedulerPolicy] = FIFOScheduler,
        stopper: Stopper | None = None,
        callbacks: Sequence[Callback] = (),
        poll_s: float = 30.0,
        **spec: Any,
    ) -> None:
        self.paths = ExperimentPaths(root)
        root.mkdir(parents=True)
        self.clock = SimulatedClock()
        self._began = self.clock.now()
        chosen = curve or Curve(metrics=hyperbola, iterations=iterations)
        self.cluster = SimulatedCluster(
            self.clock, root, chosen, slots=slots, queue_wait_s=queue_wait_s, max_submitted=2 * slots
        )
        self.cluster.poll_s = self.cluster.quiet_poll_s = poll_s
        base = ExperimentSpec(
            "51a1a7ed", root.name, self._began, "simulated", metric="loss", mode="min", num_samples=num_samples
        )
        self.spec = replace(base, cluster="simulated", **spec)
        spec_file.write(self.paths, self.spec)
        self.setup = DriverSetup(
            bind_search=lambda n, seed: BasicVariantGenerator().bind(space or {"x": uniform(0.0, 1.0)}, n, seed),
            scheduler=scheduler(),
            stopper=stopper,
            callbacks=callbacks,
        )
        self._pause_s = poll_s

    @property
    def simulated_s(self) -> float:
        """Seconds that have passed in the simulation."""
        return self.clock.now() - self._began

    def cluster_for_driver(self) -> Cluster:
        """Where a driver's jobs run."""
        return self.cluster

    def driver(self) -> Driver:
        """A driver, not started yet."""
        return Driver(
            self.paths, self.spec, self.setup, self.cluster_for_driver(), self.clock, QuietDisplay(), experiment_tag,
            exit_lag_s=self._pause_s, pause_s=(self._pause_s, self._pause_s), status_interval_s=600.0,
        )  # fmt: skip

    def run(self) -> ExperimentState:
        """Drive to the end; returns the final state."""
        driver = self.driver()
        driver.start()
        drive([driver], self.clock, LeaveRequest())
        return driver.state
