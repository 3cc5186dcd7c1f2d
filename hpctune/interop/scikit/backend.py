"""A backend of joblib whose tasks are trials: ``parallel_backend("hpctune")`` around code that uses joblib."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from joblib import parallel_config, register_parallel_backend
from joblib.parallel import ParallelBackendBase

from hpctune.common.log import log, show_messages
from hpctune.errors import TuneError, UsageError
from hpctune.interop.scikit.again import fingerprint_of_calls, unfinished
from hpctune.interop.scikit.tasks import CallOne, kept
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.outcome import trial_error
from hpctune.launch.run import run as launch
from hpctune.model.trial import Phase
from hpctune.run_config import FailureConfig, RunConfig
from hpctune.space.functions import grid_search
from hpctune.tune_config import TuneConfig
from hpctune.tuner import Tuner

NAME = "hpctune"
MOST = 100_000
"""The number of workers that joblib is told: so it hands over all tasks at once."""


class Task:
    """A task and, later, what came of it."""

    def __init__(self, call: Callable[[], Any], backend: CollectingBackend) -> None:
        self.call, self._backend = call, backend
        self.outcome: tuple[bool, Any] | None = None

    def get(self, timeout: float | None = None) -> Any:
        """What the call returned. Runs all tasks that wait. Raises what the call raised."""
        if self.outcome is None:
            self._backend.run_all()
        assert self.outcome is not None
        well, value = self.outcome
        if not well:
            raise value
        return value


class CollectingBackend(ParallelBackendBase):  # type: ignore[misc]
    """Collects tasks until the first result is asked for; then ``run_tasks`` runs them all."""

    supports_sharedmem = False

    def __init__(self, nesting_level: int | None = None, inner_max_num_threads: int | None = None) -> None:
        super().__init__(nesting_level=nesting_level or 0, inner_max_num_threads=inner_max_num_threads)
        self._waiting: list[tuple[Task, Callable[[Any], None] | None]] = []
        self._lock = threading.RLock()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return MOST

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None) -> Task:
        task = Task(func, self)
        with self._lock:
            self._waiting.append((task, callback))
        return task

    apply_async = submit

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self._waiting.clear()

    def terminate(self) -> None:
        self._waiting.clear()

    def get_nested_backend(self) -> tuple[Any, Any]:
        from joblib.parallel import SequentialBackend

        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def run_all(self) -> None:
        """Run what waits, and tell joblib."""
        with self._lock:
            now, self._waiting = self._waiting, []
        outcomes = self.run_tasks([task.call for task, _ in now])
        for (task, _), outcome in zip(now, outcomes, strict=True):
            task.outcome = outcome
        for task, callback in now:
            if callback is not None:
                callback(task)

    def run_tasks(self, calls: list[Callable[[], Any]]) -> list[tuple[bool, Any]]:
        """For each call whether it returned, and what it returned or raised."""
        raise NotImplementedError


class HpctuneBackend(CollectingBackend):
    """Each task is a trial of an experiment; each ``Parallel(...)(...)`` is an experiment.

    Args:
        cluster, slurm: As of :class:`hpctune.Tuner`.
        name, storage_path: As of :class:`hpctune.RunConfig`.
        verbosity: Its ``verbose`` (joblib has a ``verbose`` of its own).
        max_concurrent: How many tasks run at a time; None: as many as there is room for.
        resources: Of a task, as ``{"cpu": 4}``.
        max_failures: How often a task that fails is tried again.
    """

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        *,
        cluster: Any = None,
        slurm: Any = None,
        name: str | None = None,
        storage_path: Any = None,
        verbosity: int | None = None,
        max_concurrent: int | None = None,
        resources: Any = None,
        max_failures: int = 0,
    ) -> None:
        super().__init__(nesting_level, inner_max_num_threads)
        self._where = {"cluster": cluster, "slurm": slurm}
        self._run: dict[str, Any] = {"name": name, "storage_path": storage_path, "verbose": verbosity}
        self._max_concurrent, self._resources, self._max_failures = max_concurrent, resources, max_failures

    def run_tasks(self, calls: list[Callable[[], Any]]) -> list[tuple[bool, Any]]:
        from hpctune.worker import with_resources

        search = fingerprint_of_calls(item for call in calls for item in getattr(call, "items", [(call, (), {})]))
        trainable: Any = CallOne(calls, search)
        if self._resources is not None:
            trainable = with_resources(trainable, self._resources)
        tuner = Tuner(
            trainable,
            tune_config=TuneConfig(
                max_concurrent_trials=self._max_concurrent,
                chdir_to_trial_dir=False,
            ),
            param_space={"call": grid_search(list(range(len(calls))))},
            run_config=RunConfig(failure_config=FailureConfig(max_failures=self._max_failures), **self._run),
            **self._where,
        )
        return outcomes_of(run_to_the_end(tuner, search), len(calls))


def run_to_the_end(tuner: Tuner, search: str | None) -> DrivenExperiment:
    """Run a search, or go on with it if its driver was killed. ``search``: its fingerprint, which the trainable has.

    Raises KeyboardInterrupt if its driver was told to leave.
    """
    experiment, options = tuner.experiment(), tuner.options()
    begun = unfinished(experiment, search)
    if begun is not None:
        experiment.name, options = begun, replace(options, resume="AUTO")
        show_messages()
        log.info(f"hpctune: the search {begun} was begun with the same data and candidates: it goes on.")
    driven = launch([experiment], options)[0]
    if driven.left:
        raise KeyboardInterrupt(f"the driver was told to leave ({driven.left})")
    stopping = driven.driver.state.stopping
    if stopping is not None and stopping.fatal:
        raise TuneError(stopping.reason)
    return driven


def outcomes_of(driven: DrivenExperiment, count: int) -> list[tuple[bool, Any]]:
    """What came of each task."""
    found: list[tuple[bool, Any]] = []
    for trial in sorted(driven.trials, key=lambda trial: trial.value.index)[:count]:
        outcome = kept(trial.paths.root)
        over = trial.value.phase is Phase.TERMINATED or (outcome is not None and not outcome[0])
        if outcome is None or not over:
            error = trial.value.error
            failure = TuneError(f"Trial {trial} gave no result.") if error is None else trial_error(str(trial), error)
            outcome = (False, failure)
        found.append(outcome)
    missing = (False, TuneError(f"The search was stopped before this task ran: {driven.paths.root}"))
    return [*found, *[missing] * (count - len(found))]


def register_hpctune() -> None:
    """Let joblib know the backend "hpctune"."""
    register_parallel_backend(NAME, HpctuneBackend)


@contextlib.contextmanager
def parallel_backend(**options: Any) -> Iterator[None]:
    """While this lasts, joblib's tasks are trials: ``with parallel_backend(slurm=...):``. Options: of HpctuneBackend.

    Raises:
        UsageError: for an option that there is not.
    """
    try:
        backend = HpctuneBackend(**options)
    except TypeError as error:
        raise UsageError(f"{error}. The options are those of HpctuneBackend.") from error
    with parallel_config(backend=backend, n_jobs=-1):
        yield
