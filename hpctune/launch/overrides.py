"""The options of the command line that override the user's script. The CLI sets them; the launch reads them.

A script calls ``hpctune.run(...)`` and does not know the command line. So the overrides are kept in a context variable
until the launch reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpctune.model.budget import Budget

if TYPE_CHECKING:
    from hpctune.cluster.ssh.options import Workstation
    from hpctune.launch.driver_chain import DriverJobRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The overrides. A field that is None (or empty) leaves the script's value.

    ``cluster``: "auto", "slurm", "local", "ssh" or "debug". ``hosts``: the machines for "ssh". ``code``
    and ``code_limit``: further files for jobs that do not see them, and bytes of all at most. ``slurm``: fields of
    SlurmOptions. ``config``: values by "a/b" or "a.b", which replace the domain or constant in the search space.
    ``resume``: True, "AUTO" or any other form of
    ``hpctune.run(resume=...)``. ``time_budget_s``: seconds. ``budget``: hours that the jobs may hold.
    ``cancel_on_exit``: the jobs are cancelled if the driver ends early (their trials go on from their checkpoints after
    a resume). ``calls_per_minute``: Slurm commands at most. ``workers``: the number of long-lived workers.
    ``driver_job``: the driver runs as a Slurm job. ``share_with_group``: the group may read the experiment.
    ``max_checkpoints`` and ``max_checkpoint_bytes``: limits of all trials together. ``preferred_cluster``: what "auto"
    means; a cluster that the script or the command line names is used. ``machine``: options of the cluster "local",
    unless the script has its own.
    """

    name: str | None = None
    storage_path: str | None = None
    num_samples: int | None = None
    max_concurrent: int | None = None
    time_budget_s: float | None = None
    budget: Budget | None = None
    cluster: str | None = None
    hosts: tuple[str | Workstation, ...] = ()
    code: tuple[str, ...] = ()
    code_limit: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    resume: str | bool | None = None
    dry_run: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    verbose: int | None = None
    cancel_on_exit: bool = False
    calls_per_minute: int | None = None
    workers: int | None = None
    driver_job: DriverJobRequest | None = None
    share_with_group: bool = False
    max_checkpoints: int | None = None
    max_checkpoint_bytes: int | None = None
    preferred_cluster: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slurm_options(self) -> dict[str, Any]:
        """``slurm`` and ``calls_per_minute`` together."""
        limit = {} if self.calls_per_minute is None else {"calls_per_minute": self.calls_per_minute}
        return {**self.slurm, **limit}


_current: ContextVar[Overrides | None] = ContextVar("hpctune_overrides", default=None)


def current() -> Overrides:
    """The current overrides; empty ones if none are set."""
    return _current.get() or Overrides()


@contextmanager
def use(overrides: Overrides) -> Iterator[Overrides]:
    """Use ``overrides`` in this context."""
    token = _current.set(overrides)
    try:
        yield overrides
    finally:
        _current.reset(token)


def prefer(*, cluster: str | None, machine: Mapping[str, Any] | None = None) -> None:
    """From now on, ``cluster`` is used if neither the script nor the command line names one, and ``machine`` if the
    script has no LocalOptions. None: as usual."""
    now = current()
    if now.preferred_cluster != cluster or now.machine != (machine or {}):
        _current.set(replace(now, preferred_cluster=cluster, machine=machine or {}))
