"""Resolves the cluster that a user asks for (by name, by options, or as an object) and builds it."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from hpctune.cluster.containers import Container
from hpctune.cluster.debug import DebugCluster
from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.names import NAMES, SSH_SHARED, valid_names
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.cluster.pool.options import PoolOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.cluster.ssh.cluster import SshCluster
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.common import plugins
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.file_transfer.options import FileTransfer
from hpctune.ports import Clock, Cluster

EXIT_LAG_S = {"slurm": 5.0, "local": 0.2}
"""Seconds, by cluster, until a run's exit record is visible after its job has ended (default for others: 0)."""
_NO_HOSTS = "The cluster 'ssh' needs its machines: --hosts ws1,ws2 or cluster=SshOptions(hosts=['ws1', 'ws2'])."
_OPTIONS_OF_EACH = "SlurmOptions(...), LocalOptions(...), SshOptions(...)"
_PORT = ("check", "room", "submit", "jobs", "cancel", "preview", "stats", "tidy", "close")
_CONFIGS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")
_VERSION_TIMEOUT_S = 10.0
Options = SlurmOptions | LocalOptions | SshOptions
_Options = TypeVar("_Options", SlurmOptions, LocalOptions)


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """A cluster that is to be built: its name ("slurm", "local", "ssh", "debug" or a plug-in's; never "auto") and its
    options.

    ``made``: a cluster object of the user; then there is nothing to build. ``plugin_options``: the keyword arguments of
    a plug-in's cluster.
    """

    name: str
    options: Options | None = None
    made: Cluster | None = None
    plugin_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_lag_s(self) -> float:
        """Seconds until a run's exit record is visible after its job has ended."""
        return EXIT_LAG_S.get(self.name, 0.0)

    @property
    def jobs_have_copies(self) -> bool:
        """Whether jobs do not see the experiment's directory, and get and bring files."""
        return self.name == "ssh" or (isinstance(self.options, SlurmOptions) and self.options.transfer is not None)

    @property
    def code(self) -> tuple[Sequence[str], int | None]:
        """Which files of the project jobs get besides those that they get anyway, and the limit of all, in bytes; if
        jobs have copies."""
        options = self.options.transfer if isinstance(self.options, SlurmOptions) else self.options
        return (options.code, options.code_limit) if isinstance(options, (SshOptions, FileTransfer)) else ((), 0)

    def with_code(self, code: Sequence[str], limit: int | None) -> ClusterChoice:
        """The same choice with further files for jobs, and another limit. Raises UsageError if jobs have no copies."""
        changes: dict[str, Any] = {} if limit is None else {"code_limit": limit}
        if code:
            changes["code"] = (*self.code[0], *(name for name in code if name not in self.code[0]))
        if not changes:
            return self
        if isinstance(self.options, SshOptions):
            return replace(self, options=self.options.merge(changes))
        if isinstance(self.options, SlurmOptions) and self.options.transfer is not None:
            transfer = replace(self.options.transfer, **changes)
            return replace(self, options=self.options.merge({"file_transfer": transfer}))
        raise UsageError(
            "--code and --code-limit are for jobs that do not see your files: add --on CLUSTER, --hosts ws1,ws2 or "
            "--file-transfer HOST:DIRECTORY."
        )

    @property
    def doorbell(self) -> bool:
        """Whether the driver and the runs notify each other by UDP."""
        if self.options is None:
            return self.name == "local"
        return self.options.doorbell

    def build(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        """Build the cluster for one experiment.

        Raises UsageError if Slurm is not installed here, or if the options belong to another kind of cluster.
        """
        if self.made is not None:
            return self.made
        cluster: SlurmCluster | LocalCluster
        match self.name:
            case "slurm":
                _require_sbatch()
                slurm = _options_of(SlurmOptions, self)
                cluster, pool = SlurmCluster(experiment_dir, experiment_id, slurm, clock), PoolOptions.of(slurm)
            case "local":
                local = _options_of(LocalOptions, self)
                cluster, pool = LocalCluster(experiment_dir, experiment_id, local, clock), PoolOptions.of(local)
            case "ssh":
                if not isinstance(self.options, SshOptions):
                    raise UsageError(_NO_HOSTS)
                return SshCluster(experiment_dir, experiment_id, self.options, clock)
            case "debug":
                return DebugCluster(experiment_dir, experiment_id, None, clock)
            case _:
                return _plugin(self, experiment_dir, experiment_id, clock)
        return cluster if pool is None else PooledCluster(cluster, experiment_dir, experiment_id, pool, clock)

    def to_json(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON; :func:`reopen_cluster` reads them again."""
        if self.options is None:
            return dict(self.plugin_options)
        given = {f.name: getattr(self.options, f.name) for f in fields(self.options)}
        defaults = {
            f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(self.options)
        }
        changed = {k: v for k, v in given.items() if v != defaults[k]}
        if isinstance(self.options, SlurmOptions) and isinstance(changed.get("time"), timedelta):
            changed["time"] = self.options.time_minutes
        return {name: _as_json(value) for name, value in changed.items()}

    def with_workers(self, workers: int | str | None) -> ClusterChoice:
        """The same choice with long-lived workers: a number of them, or "auto". None changes nothing.

        Raises UsageError for a cluster object: only its own constructor can add workers.
        """
        if workers is None:
            return self
        if self.made is not None:
            raise UsageError(
                "workers= and reuse_actors= apply only to the clusters 'slurm' and 'local'. For a cluster object of "
                "your own, use hpctune.cluster.PooledCluster(cluster, ...)."
            )
        if self.name == "ssh":
            raise UsageError(
                "Workers that stay (workers=, reuse_actors=) read the experiment's directory, which machines that are "
                "reached by ssh do not see. Leave them out."
            )
        if self.name not in ("slurm", "local"):
            log.warning(f"Cluster {self.name!r} runs trials in this process: workers={workers!r} is ignored.")
            return self
        options = self.options or (SlurmOptions() if self.name == "slurm" else LocalOptions())
        assert not isinstance(options, SshOptions)
        return ClusterChoice(self.name, options.merge({"workers": workers}))


def _as_json(value: Any) -> Any:
    if isinstance(value, Container | FileTransfer | Workstation):
        return value.to_json()
    return [_as_json(one) for one in value] if isinstance(value, tuple) else value


def resolve_cluster(
    cluster: object = None,
    slurm: object = None,
    *,
    name: str | None = None,
    slurm_changes: Mapping[str, Any] | None = None,
    hosts: Sequence[str | Workstation] = (),
) -> ClusterChoice:
    """The cluster that ``cluster=`` and ``slurm=`` name, changed by the command line's ``name``, ``slurm_changes`` and
    ``hosts``.

    ``cluster``: "auto", "slurm", "local", "debug", SlurmOptions, LocalOptions, SshOptions, the name of a plug-in's
    cluster, a dict of that name and its options, or a Cluster. None is "auto": Slurm if ``slurm`` was given or Slurm is
    here, else this machine. Raises UsageError for anything else.
    """
    options = _slurm_options(slurm)
    if hosts or (name or cluster) == "ssh" or (name is None and isinstance(cluster, SshOptions)):
        if options is not None:
            log.warning("Trials run on workstations: the options for Slurm jobs (slurm=) are ignored.")
        return _workstations(cluster, name, slurm_changes or {}, hosts)
    local = cluster if isinstance(cluster, LocalOptions) else None
    given: object = "local" if local is not None else "auto" if cluster is None else cluster
    if isinstance(cluster, SshOptions):
        given = "ssh"  # the command line names another one
    if isinstance(cluster, SlurmOptions):
        if options is not None:
            raise UsageError("cluster=SlurmOptions(...) and slurm= set the same options. Remove one of them.")
        given, options = "slurm", cluster
    if name is not None:
        given = name
    if isinstance(given, Mapping):
        return _plugin_choice(given)
    if not isinstance(given, str):
        return _made(given)
    if given not in NAMES:
        return _plugin_choice({"name": given})
    if slurm_changes:
        options = (options or SlurmOptions()).merge(slurm_changes)
    chosen = given
    if given == "auto":  # resolved now, so that a resume on another machine cannot choose another cluster
        chosen = "slurm" if options is not None or slurm_is_here(os.environ) else "local"
    if options is not None and chosen != "slurm":
        log.warning(f"Trials run on cluster {chosen!r}: the options for Slurm jobs are ignored.")
    return ClusterChoice(chosen, options if chosen == "slurm" else local if chosen == "local" else None)


def _workstations(
    cluster: object, name: str | None, changes: Mapping[str, Any], hosts: Sequence[str | Workstation]
) -> ClusterChoice:
    """The machines of ``hosts``, else those of the script's SshOptions; with the options of ``changes`` that mean the
    same for them. A machine that has options of its own in the script keeps them."""
    if name not in (None, "ssh"):
        raise UsageError(f"--hosts names machines that are reached by ssh, and --cluster {name} is another cluster.")
    shared = {key: value for key, value in changes.items() if key in SSH_SHARED}
    if hosts:
        known = cluster.hosts if isinstance(cluster, SshOptions) else ()
        own = {one.host: one for one in known if isinstance(one, Workstation)}
        shared["hosts"] = [own.get(one, one) if isinstance(one, str) else one for one in hosts]
    if isinstance(cluster, SshOptions):
        return ClusterChoice("ssh", cluster.merge(shared))
    if not hosts:
        raise UsageError(_NO_HOSTS)
    return ClusterChoice("ssh", SshOptions.from_mapping(shared))


def reopen_cluster(
    stored: str,
    options: Mapping[str, Any],
    *,
    name: str | None = None,
    slurm_changes: Mapping[str, Any] | None = None,
    workers: int | str | None = None,
    hosts: Sequence[str | Workstation] = (),
) -> ClusterChoice:
    """The cluster ``stored`` on which an experiment was started, with the changes of the command line."""
    if stored == "ssh" and name in (None, "auto", "ssh"):
        machines = SshOptions.from_mapping(options)
        return resolve_cluster(machines, slurm_changes=slurm_changes, hosts=hosts).with_workers(workers)
    if hosts or name not in (None, "auto", stored):
        return resolve_cluster(name=name, slurm_changes=slurm_changes, hosts=hosts)
    if stored == "slurm":
        return resolve_cluster("slurm", dict(options), slurm_changes=slurm_changes).with_workers(workers)
    if stored == "local":
        return ClusterChoice(stored, LocalOptions.from_mapping(options)).with_workers(workers)
    if stored in NAMES:
        return ClusterChoice(stored)
    if stored in plugins.names(plugins.CLUSTERS):
        return ClusterChoice(stored, plugin_options=options)
    raise UsageError(
        f"The experiment was started on {stored!r}: a cluster object of its own, or that of a plug-in that is not "
        "installed here. Install the plug-in, or resume from Python with hpctune.run(..., resume=True, cluster=...)."
    )


def slurm_is_here(environ: Mapping[str, str]) -> bool:
    """Whether Slurm's commands are installed and configured. The controller is not asked, because it may be down."""
    if shutil.which("sbatch", path=environ.get("PATH")) is None:
        return False
    if environ.get("SLURM_CONF") or environ.get("SLURM_CONF_SERVER") or any(Path(c).exists() for c in _CONFIGS):
        return True
    try:
        asked = subprocess.run(["scontrol", "--version"], capture_output=True, timeout=_VERSION_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _require_sbatch() -> None:
    if shutil.which("sbatch") is None:
        raise UsageError(
            "The cluster is 'slurm', but sbatch is not on PATH. Run hpctune on a node with Slurm's commands "
            "(a login node; often 'module load slurm' is needed), or use --cluster local."
        )


def _options_of(kind: type[_Options], choice: ClusterChoice) -> _Options:
    if choice.options is not None and not isinstance(choice.options, kind):
        raise UsageError(
            f"{type(choice.options).__name__} are not options of the cluster {choice.name!r}. Give {kind.__name__}."
        )
    return choice.options or kind()


def _slurm_options(slurm: object) -> SlurmOptions | None:
    if slurm is None or isinstance(slurm, SlurmOptions):
        return slurm
    if isinstance(slurm, Mapping):
        return SlurmOptions.from_mapping(slurm)
    raise UsageError(f"slurm must be SlurmOptions or a dict of its fields, not {slurm!r}.")


def _plugin_choice(given: Mapping[str, Any]) -> ClusterChoice:
    """The cluster of a plug-in: ``{"name": ..., OPTION: ...}``."""
    name, options = given.get("name"), {key: value for key, value in given.items() if key != "name"}
    if name not in valid_names():
        raise UsageError(f"{name!r} is not a valid cluster. Valid are: {', '.join(valid_names())}.")
    if name in NAMES:
        raise UsageError(f"A dict as cluster= is for plug-ins. For {name!r} give {_OPTIONS_OF_EACH} or the name.")
    try:
        json.dumps(options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"The options of the cluster {name!r} must be JSON, to be stored: {error}.") from error
    return ClusterChoice(str(name), plugin_options=options)


def _plugin(choice: ClusterChoice, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
    """Call the plug-in's ``factory(experiment_dir, experiment_id, clock, **options)``."""
    factory = plugins.find(plugins.CLUSTERS, choice.name)
    if factory is None:
        raise UsageError(
            f"The cluster {choice.name!r} is a plug-in that is not installed here. Install the package that has it, or "
            f"choose one of: {', '.join(valid_names())}."
        )
    try:
        inspect.signature(factory).bind(experiment_dir, experiment_id, clock, **choice.plugin_options)
    except TypeError as error:
        raise UsageError(f"The cluster {choice.name!r} does not take these options: {error}.") from error
    return _checked(factory(experiment_dir, experiment_id, clock, **choice.plugin_options))


def _made(cluster: object) -> ClusterChoice:
    made = _checked(cluster)
    return ClusterChoice(made.name, made=made)


def _checked(cluster: object) -> Cluster:
    """``cluster``. Raises UsageError if it lacks a method of a cluster."""
    if isinstance(cluster, type) or not all(callable(getattr(cluster, method, None)) for method in _PORT):
        raise UsageError(
            f"cluster must be one of {', '.join(valid_names())}, {_OPTIONS_OF_EACH}, or an object "
            f"with the methods of hpctune.ports.Cluster, not {cluster!r}."
        )
    return cast(Cluster, cluster)
