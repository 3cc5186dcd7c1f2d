"""What the driver asks of the world, in as few words as possible.

A port never decides anything about trials. Whoever implements one can check it with the conformance suites
of ``hpctune.testing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hpctune.model.jobs import JobRequest, JobStatus, SubmitOutcome
from hpctune.model.resources import Resources


class Clock(Protocol):
    """Time as the driver knows it. Only this is asked for the time; a simulated one makes hours pass at once."""

    def now(self) -> float:
        """Unix time in seconds."""
        ...

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        """Let ``seconds`` pass, or less when something happened that is worth a look; but ``undisturbed`` seconds of
        them in any case, if nobody asks to leave."""
        ...


@dataclass(frozen=True, slots=True)
class CallStats:
    """Calls made to the cluster's own commands (for Slurm: sbatch, squeue, scancel, ...)."""

    total: int = 0
    last_minute: int = 0
    budget_per_minute: int | None = None
    deferred: int = 0
    """Calls that were put off because the budget was spent."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How many jobs the experiment could use now, besides those it has. A level: it is sent again whenever it changes.

    ``needs``: numbers of jobs by resources, the most urgent first. ``more_expected``: more may be needed later.
    ``prefetchable``: jobs may be handed out before there is room for them, since they do not depend on the results of
    others. ``finished``: nothing will be needed any more.
    """

    needs: Sequence[tuple[Resources, int]] = ()
    more_expected: bool = True
    prefetchable: bool = False
    finished: bool = False


NO_DEMAND = Demand(more_expected=False, finished=True)


class Cluster(Protocol):
    """Where jobs run.

    A cluster that grows and shrinks with the demand has a method ``demand(demand: Demand)`` as well, and a property
    ``all_workers_prefetched``: whether each of its workers has its next trial already. It may have ``summary()`` and
    ``queue()``: a few words for people on what it has, and on how long its jobs waited.

    ``poll_s`` and ``quiet_poll_s`` are the shortest and longest sensible intervals between two :meth:`jobs` calls.
    Every method may raise :class:`~hpctune.errors.ClusterUnavailableError`, from which nothing follows.
    """

    name: str
    poll_s: float
    quiet_poll_s: float

    def check(self, resources: Resources) -> None:
        """Raise :class:`~hpctune.errors.RequestRejectedError` when no job of this kind could ever run here."""
        ...

    def room(self, resources: Resources) -> int:
        """How many more jobs of this kind may be submitted now. Never blocks, makes no call."""
        ...

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Submit; one outcome a request, in order. Does not raise for what an outcome can say."""
        ...

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment that the cluster knows, recently ended ones included, by one query.

        A job that is not in the list is not known to the cluster. One that could not be asked for: an exception.
        """
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs, waiting or running. Jobs that are over or unknown are no error."""
        ...

    def preview(self, request: JobRequest) -> str:
        """What would be submitted, as text for people: for Slurm the batch script."""
        ...

    def stats(self) -> CallStats:
        """How often the cluster's own commands were called."""
        ...

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the files that submitting these (ended) jobs left."""
        ...

    def close(self) -> None:
        """Let go of everything held. Jobs go on."""
        ...
