"""The ports: the interfaces through which the driver uses a clock and a cluster.

A port never decides anything about trials. The conformance suites of ``hpctune.testing`` check implementations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hpctune.model.jobs import JobRequest, JobStatus, SubmitOutcome
from hpctune.model.resources import Resources


class Clock(Protocol):
    """The driver's only source of time. A simulated clock lets hours pass immediately."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        """Wait for ``seconds``, or less if an event needs attention.

        At least ``undisturbed`` seconds pass, unless the driver must end.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallStats:
    """Calls made to the cluster's own commands (for Slurm: sbatch, squeue, scancel, ...)."""

    total: int = 0
    last_minute: int = 0
    budget_per_minute: int | None = None
    deferred: int = 0
    """Calls that were postponed because the budget was spent."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How many jobs the experiment could use now, in addition to those it has. It is sent again when it changes.

    ``needs``: numbers of jobs by resources, the most urgent first. ``more_expected``: more may be needed later.
    ``prefetchable``: jobs may be assigned before there is room for them, because they do not depend on the results of
    others. ``finished``: nothing will be needed any more.
    """

    needs: Sequence[tuple[Resources, int]] = ()
    more_expected: bool = True
    prefetchable: bool = False
    finished: bool = False


NO_DEMAND = Demand(more_expected=False, finished=True)


class Cluster(Protocol):
    """The port to a cluster, on which jobs run.

    A cluster that grows and shrinks with the demand also has a method ``demand(demand: Demand)``, a method
    ``held(now)``, which returns the resources of its workers' jobs and the seconds for which they were held, and a
    property ``all_workers_prefetched``: whether each of its workers has its next trial already. It may have
    ``summary()`` and ``queue()``, which return short texts for people about its workers and the waits of its jobs.

    ``poll_s`` and ``quiet_poll_s``: the shortest and longest interval between two calls of :meth:`jobs` in seconds.
    Every method may raise :class:`~hpctune.errors.ClusterUnavailableError`, from which nothing is concluded.
    """

    name: str
    poll_s: float
    quiet_poll_s: float

    def check(self, resources: Resources) -> None:
        """Raise :class:`~hpctune.errors.RequestRejectedError` if no job of this kind could ever run here."""
        ...

    def room(self, resources: Resources) -> int:
        """How many more jobs of this kind may be submitted now. Never blocks, and calls no command."""
        ...

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Submit the requests. Returns one outcome for each, in order. Does not raise if an outcome can express it."""
        ...

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment that the cluster knows, including recently ended ones, by one query.

        A job that is not in the list is not known to the cluster. If the query fails, this raises an exception.
        """
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs, waiting or running. Jobs that are over or unknown are not an error."""
        ...

    def preview(self, request: JobRequest) -> str:
        """The text that would be submitted, for people: for Slurm the batch script."""
        ...

    def stats(self) -> CallStats:
        """Numbers of calls of the cluster's own commands."""
        ...

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the files that the submission of these (ended) jobs left."""
        ...

    def close(self) -> None:
        """Release all resources. Jobs go on."""
        ...
