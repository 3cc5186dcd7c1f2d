"""What the command line says over the user's script: filled by the CLI, merged in by the facade.

A script calls ``hpctune.run(...)`` knowing nothing of the command line. What the command line wants differently waits
in a context variable until the facade asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpctune.launch.driver_chain import DriverJobRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Each field None (or empty): as the script says.

    ``cluster``: "auto", "slurm", "local" or "debug". ``slurm``: fields of SlurmOptions. ``config``: value by
    "a/b" or "a.b", in place of the domain or constant that the search space has there. ``resume``: True, "AUTO" or any
    other form that ``hpctune.run(resume=...)`` takes. ``time_budget_s``: seconds. ``cancel_on_exit``: leaving cancels
    the jobs (their trials go on from their checkpoints after a resume). ``calls_per_minute``: Slurm commands at most.
    ``workers``: jobs that stay and take trial after trial. ``driver_job``: the driver shall be a Slurm job.
    ``share_with_group``: the group may read the experiment.
    """

    name: str | None = None
    storage_path: str | None = None
    num_samples: int | None = None
    max_concurrent: int | None = None
    time_budget_s: float | None = None
    cluster: str | None = None
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

    @property
    def slurm_options(self) -> dict[str, Any]:
        """``slurm`` and ``calls_per_minute`` together."""
        limit = {} if self.calls_per_minute is None else {"calls_per_minute": self.calls_per_minute}
        return {**self.slurm, **limit}


_current: ContextVar[Overrides | None] = ContextVar("hpctune_overrides", default=None)


def current() -> Overrides:
    """The overrides in force; empty ones where nobody set any."""
    return _current.get() or Overrides()


@contextmanager
def use(overrides: Overrides) -> Iterator[Overrides]:
    """Let ``overrides`` be in force while this lasts."""
    token = _current.set(overrides)
    try:
        yield overrides
    finally:
        _current.reset(token)
