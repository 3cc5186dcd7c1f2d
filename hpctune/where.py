"""Which cluster a user means: by name, by its options, or as an object."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from hpctune.cluster.choose import NAMES, make_cluster, slurm_is_here
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.errors import UsageError
from hpctune.model.resources import Resources
from hpctune.notice import tell
from hpctune.overrides import Overrides
from hpctune.ports import Clock, Cluster

EXIT_LAG_S = {"slurm": 5.0, "local": 0.2}
"""How long a run's exit record may take to be seen after its job has ended, by cluster (others: 0)."""
_PORT = ("check", "room", "submit", "jobs", "cancel", "preview", "stats", "tidy", "close")


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """A cluster to be made: its name ("slurm", "local", "debug"; never "auto") and options; or one that is ``made``."""

    name: str
    options: SlurmOptions | LocalOptions | None = None
    made: Cluster | None = None

    @property
    def exit_lag_s(self) -> float:
        """How long a run's exit record may take to be seen after its job has ended."""
        return EXIT_LAG_S.get(self.name, 0.0)

    @property
    def doorbell(self) -> bool:
        """Whether runs and driver may ring each other."""
        if self.options is None:
            return self.name == "local"
        return self.options.doorbell

    def build(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        """The cluster for one experiment. Raises UsageError when it cannot be."""
        if self.made is not None:
            return self.made
        return make_cluster(self.name, experiment_dir, experiment_id, self.options, clock)

    def to_json(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON; ``make_cluster`` reads them again."""
        if self.options is None:
            return {}
        given = {f.name: getattr(self.options, f.name) for f in fields(self.options)}
        usual = type(self.options)()
        said = {k: v for k, v in given.items() if v != getattr(usual, k)}
        if isinstance(self.options, SlurmOptions) and isinstance(said.get("time"), timedelta):
            said["time"] = self.options.time_minutes
        return {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()}


def choose(cluster: object, slurm: object, overrides: Overrides) -> ClusterChoice:
    """The cluster that ``cluster=`` and ``slurm=`` name, and the command line over them.

    ``cluster``: "auto", "slurm", "local", "debug", SlurmOptions, LocalOptions, or a Cluster. None is "auto": Slurm
    where ``slurm`` was given or Slurm is, else this machine. Raises UsageError for anything else.
    """
    options = _slurm_options(slurm)
    local = cluster if isinstance(cluster, LocalOptions) else None
    given: object = "local" if local is not None else "auto" if cluster is None else cluster
    if isinstance(cluster, SlurmOptions):
        if options is not None:
            raise UsageError("cluster=SlurmOptions(...) and slurm= are the same option. Keep one of them.")
        given, options = "slurm", cluster
    if overrides.cluster is not None:
        given = overrides.cluster
    if not isinstance(given, str):
        return ClusterChoice(*_made(given))
    if given not in NAMES:
        raise UsageError(f"There is no cluster {given!r}. Valid are: {', '.join(NAMES)}.")
    if overrides.slurm_options:
        options = (options or SlurmOptions()).merge(overrides.slurm_options)
    name = _resolved(given, options)
    if options is not None and name != "slurm":
        tell(f"Trials run on cluster {name!r}: the options of Slurm jobs mean nothing there.")
    return ClusterChoice(name, options if name == "slurm" else local if name == "local" else None)


def stored(name: str, options: Mapping[str, Any], overrides: Overrides) -> ClusterChoice:
    """The cluster that an experiment was started on, with the command line's changes."""
    if overrides.cluster not in (None, "auto", name):
        return choose(overrides.cluster, None, overrides)
    if name == "slurm":
        return with_workers(choose("slurm", dict(options), overrides), overrides.workers)
    if name == "local":
        return with_workers(ClusterChoice(name, LocalOptions.from_mapping(options)), overrides.workers)
    if name in NAMES:
        return ClusterChoice(name)
    raise UsageError(
        f"The experiment was started on a cluster of its own making, {name!r}. Resume it from Python with "
        "hpctune.run(..., resume=True, cluster=...)."
    )


def with_workers(choice: ClusterChoice, workers: int | str | None) -> ClusterChoice:
    """``choice`` with workers that stay: as many as given, or "auto". None: as it is.

    Raises UsageError for a cluster object, which can be given them only where it is made.
    """
    if workers is None:
        return choice
    if choice.made is not None:
        raise UsageError(
            "workers= and reuse_actors= are options of jobs on Slurm and on this machine. For a cluster of your own: "
            "hpctune.cluster.pool.PooledCluster(cluster, ...)."
        )
    if choice.name not in ("slurm", "local"):
        tell(f"Trials run on cluster {choice.name!r}, in this process: there are no workers.")
        return choice
    usual = SlurmOptions() if choice.name == "slurm" else LocalOptions()
    return ClusterChoice(choice.name, (choice.options or usual).merge({"workers": workers}))


def _slurm_options(slurm: object) -> SlurmOptions | None:
    if slurm is None or isinstance(slurm, SlurmOptions):
        return slurm
    if isinstance(slurm, Mapping):
        return SlurmOptions.from_mapping(slurm)
    raise UsageError(f"slurm must be SlurmOptions or a dict of its fields, not {slurm!r}.")


def _made(cluster: object) -> tuple[str, None, Cluster]:
    if isinstance(cluster, type) or not all(callable(getattr(cluster, method, None)) for method in _PORT):
        raise UsageError(
            f"cluster must be one of {', '.join(NAMES)}, SlurmOptions(...), LocalOptions(...), or an object with the "
            f"methods of hpctune.ports.Cluster, not {cluster!r}."
        )
    made = cast(Cluster, cluster)
    return made.name, None, made


def _resolved(name: str, options: SlurmOptions | None) -> str:
    """``name`` with "auto" made definite, so that a resume elsewhere cannot take it for another."""
    if name != "auto":
        return name
    return "slurm" if options is not None or slurm_is_here(os.environ) else "local"


class FewPending:
    """A cluster that takes no more jobs while ``limit`` of them wait: ``pending()`` says how many do."""

    def __init__(self, cluster: Cluster, limit: int, pending: Callable[[], int]) -> None:
        self._cluster, self._limit, self._pending = cluster, limit, pending

    def room(self, resources: Resources) -> int:
        """As the cluster says, and at most what ``limit`` leaves."""
        return min(self._cluster.room(resources), self._limit - self._pending())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def few_pending(cluster: Cluster, limit: int | None, pending: Callable[[], int]) -> Cluster:
    """``cluster``, limited where there is a limit."""
    return cluster if limit is None else cast(Cluster, FewPending(cluster, limit, pending))
