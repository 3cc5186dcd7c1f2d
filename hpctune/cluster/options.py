"""The options of the clusters: ``SlurmOptions`` and ``LocalOptions``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from hpctune.cluster import additional, containers
from hpctune.cluster.containers import Container
from hpctune.cluster.slurm.units import memory_bytes, minutes
from hpctune.common.checks import check_choice, check_flag, check_positive, check_whole
from hpctune.common.named_state import pickled_by_name
from hpctune.common.options import option_values
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.file_transfer import options as file_transfer
from hpctune.file_transfer.options import FileTransfer

MEMORY = ("mem", "mem_per_cpu", "mem_per_gpu")
"""The options that state a job's memory. They exclude each other."""
_EXCLUSIVE = (
    (MEMORY, "Give one of them."),
    (("gres", "gpus_per_node", "gpus_per_task"), "Give one of them, such as gres='gpu:2'."),
    (("cpus_per_task", "cpus_per_gpu"), "Give one of them."),
)
_WORKER_FIELDS = (
    *("workers", "trials_per_worker", "idle_timeout_s", "prefetch", "start_method", "wait_for_gpu", "adapt_to_queue"),
)
_Options = TypeVar("_Options", "SlurmOptions", "LocalOptions")
_AUTO = "auto"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Options of long-lived workers, shared by SlurmOptions and LocalOptions.

    - ``workers``: the largest number of jobs that stay and run one trial after another; "auto": as many as there is
      room for. None: one job for each trial.
    - ``trials_per_worker``: trials side by side in one job, which asks for that many times the resources. None: as
      many as share a GPU (or CPU), if each needs a fraction of it.
    - ``idle_timeout_s``: a worker without work ends after this many seconds (default 120).
    - ``prefetch``: whether workers are given short trials in advance. None: if the searcher does not learn from
      results.
    - ``start_method``: "fork" (code is imported once per worker) or "spawn" (a new interpreter for each trial).
    - ``wait_for_gpu``: whether a trial waits until the memory of its GPU is free.
    - ``adapt_to_queue``: whether queue waits decide when workers are requested and released (see ``queue_waits.py``).
    """

    workers: int | str | None = None
    trials_per_worker: int | None = None
    idle_timeout_s: float = 120.0
    prefetch: bool | None = None
    start_method: str = "fork"
    wait_for_gpu: bool = False
    adapt_to_queue: bool = True

    def __post_init__(self) -> None:
        if self.workers != "auto":
            if isinstance(self.workers, str):
                raise UsageError(f"workers must be a number of 1 or more, 'auto' or None, not {self.workers!r}.")
            _whole(self, "workers", 1)
        _whole(self, "trials_per_worker", 1)
        _positive(self, "idle_timeout_s")
        check_choice("start_method", self.start_method, ("fork", "spawn"))
        if self.prefetch is not None:
            check_flag("prefetch", self.prefetch)
        check_flag("wait_for_gpu", self.wait_for_gpu)
        check_flag("adapt_to_queue", self.adapt_to_queue)


@pickled_by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmOptions(WorkerOptions):
    """Options of the Slurm jobs that run trials. An option that is None is not passed on: the site's default holds.

    The resources of a trial (CPUs, GPUs, memory) become a request without any option. If an option is about the same
    thing (``cpus_per_task``, ``cpus_per_gpu``, ``gpus_per_node``, ``gpus_per_task``, ``gres``, ``nodes``, ``ntasks``,
    ``ntasks_per_node``), the option wins. ``mem``, ``mem_per_cpu`` and ``mem_per_gpu`` hold only for trials that state
    no memory. Raises UsageError for impossible values.

    The variables ``SBATCH_*`` of the user's profile hold if no option is given (see ``profile.py``).

    - ``time``: the time limit, in minutes, as a timedelta, or as text: ``"2h30m"``, ``"D-HH:MM:SS"``. 0: no limit.
    - ``mem`` (a node), ``mem_per_cpu`` and ``mem_per_gpu``: bytes, or text such as ``"16G"``.
    - ``modules`` are loaded first; then ``setup``, lines of shell, runs.
    - ``container``: ``Apptainer(image=...)``, ``Pyxis(...)`` or ``Podman(...)`` (see ``containers.py``), or a shell
      command that runs the worker, such as ``"apptainer exec --nv image.sif"``.
    - ``file_transfer``: for nodes that do not see the experiment's directory: ``FileTransfer(host=..., directory=...)``
      or ``"HOST:DIRECTORY"``.
    - ``python``: the interpreter, one or several shell words.
    - ``signal_delay_s``: SIGUSR2 asks the worker for a checkpoint this many seconds before the time limit (default 90).
    - ``use_srun``: whether the worker runs as a step. None: jobs of one task do (see ``script.py``).
    - ``array``: trials that are submitted together with the same request become one job array, so that one call of
      sbatch serves all of them (default). False: each is a job of its own.
    - ``max_submitted``: this experiment's jobs in the queue at any time (default 200).
    - ``calls_per_minute``: Slurm commands in any 60 s (default 60; None: no limit).
    - ``poll_s`` and ``quiet_poll_s``: shortest and longest interval between two queue queries (default 5 s and 30 s).
    - ``timeout_s``: seconds that one Slurm command may take (default 60).
    - ``additional_parameters``: any other option of sbatch, as ``{"switches": 1}``; True for options without a value.

    - ``time="auto"``: the pool chooses its workers' time limits from trial durations and queue waits.
      ``"auto:4:00:00"`` sets a maximum.

    Options of long-lived workers: see WorkerOptions.

    ``doorbell``: the driver and the runs notify each other by UDP (default False). Decisions then take milliseconds if
    the network passes datagrams from compute nodes to the driver's host; otherwise they take one poll interval. A
    datagram holds a token and nothing else.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: int | float | str | timedelta | None = None
    mem: int | float | str | None = None
    mem_per_cpu: int | float | str | None = None
    mem_per_gpu: int | float | str | None = None
    gres: str | None = None
    gpu_type: str | None = None
    gpus_per_node: int | None = None
    gpus_per_task: int | None = None
    nodes: int | None = None
    ntasks: int | None = None
    ntasks_per_node: int | None = None
    cpus_per_task: int | None = None
    cpus_per_gpu: int | None = None
    exclude: str | None = None
    nodelist: str | None = None
    exclusive: bool | str | None = None
    reservation: str | None = None
    dependency: str | None = None
    nice: int | None = None
    priority: int | None = None
    licenses: str | None = None
    mail_type: str | None = None
    mail_user: str | None = None
    comment: str | None = None
    job_name_prefix: str = ""
    signal_delay_s: int = 90
    wckey: str | None = None
    requeue: bool | None = None
    clusters: str | None = None
    modules: Sequence[str] = ()
    setup: Sequence[str] = ()
    container: str | Container | Mapping[str, Any] | None = None
    python: str | None = None
    use_srun: bool | None = None
    srun_args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    array: bool = True
    hetjob: bool = True
    max_submitted: int = 200
    calls_per_minute: int | None = 60
    poll_s: float = 5.0
    quiet_poll_s: float = 30.0
    timeout_s: float = 60.0
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)
    doorbell: bool = False
    file_transfer: FileTransfer | Mapping[str, Any] | str | None = None

    _POSITIONS: ClassVar = (
        *("partition", "account", "qos", "constraint", "time", "mem", "mem_per_cpu", "gres", "gpu_type"),
        *("gpus_per_node", "nodes", "ntasks_per_node", "cpus_per_task", "exclude", "nodelist", "exclusive"),
        *("reservation", "dependency", "nice", "priority", "licenses", "mail_type", "mail_user", "comment"),
        *("job_name_prefix", "signal_delay_s", "wckey", "requeue", "clusters", "modules", "setup", "container"),
        *("python", "use_srun", "srun_args", "env", "array", "max_submitted", "calls_per_minute", "poll_s"),
        *("quiet_poll_s", "timeout_s", "additional_parameters", *_WORKER_FIELDS, "doorbell"),
    )
    """The order of the fields in pickles of version 0.1.0."""

    def __post_init__(self) -> None:
        WorkerOptions.__post_init__(self)
        check_flag("array", self.array)
        check_flag("hetjob", self.hetjob)
        check_flag("doorbell", self.doorbell)
        for name in ("modules", "setup", "srun_args"):
            _set(self, name, _lines(name, getattr(self, name)))
        _set(self, "env", _environment(self.env))
        for name in ("nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "max_submitted"):
            _whole(self, name, 1)
        _whole(self, "gpus_per_node", 0)
        _whole(self, "gpus_per_task", 1)
        _whole(self, "signal_delay_s", 0, 65535)
        _whole(self, "calls_per_minute", 6)
        for name in ("poll_s", "quiet_poll_s", "timeout_s"):
            _positive(self, name)
        for name in ("nice", "priority"):
            _whole(self, name, -(2**31))
        _set(self, "container", containers.parse(self.container))
        _set(self, "file_transfer", file_transfer.parse(self.file_transfer))
        self._check_file_transfer()
        self._check_amounts()
        self._check_texts()
        own = {field.name for field in fields(self)}
        _set(self, "additional_parameters", additional.parse(self.additional_parameters, own))

    def _check_file_transfer(self) -> None:
        given = self.transfer
        if given is None:
            return
        if self.workers is not None:
            raise NotYetSupportedError(
                "file_transfer serves jobs of one trial each; workers that stay read the experiment's directory. Leave "
                "out workers= (and reuse_actors=True), or put the experiment where nodes see it."
            )
        if isinstance(self.container, Container) and given.varies:
            raise UsageError(
                f"file_transfer: a container needs to know its directories beforehand, so directory must be without "
                f"variables, not {given.directory!r}. For example: FileTransfer(directory='/tmp')"
            )

    def _check_amounts(self) -> None:
        _ = self.time_minutes
        for name in MEMORY:
            if getattr(self, name) is not None:
                memory_bytes(getattr(self, name), name)
        for names, advice in _EXCLUSIVE:
            given = [name for name in names if getattr(self, name) is not None]
            if len(given) > 1:
                raise UsageError(f"{' and '.join(given)} exclude each other. {advice}")

    def _check_texts(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or "\n" in value):
                raise UsageError(f"{name} must be one line of text, not {value!r}.")
        if self.clusters is not None and ("," in self.clusters or self.clusters == "all"):
            raise NotYetSupportedError(
                f"clusters={self.clusters!r} names more than one cluster. An experiment runs on one: name only that."
            )

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> SlurmOptions:
        """Options from a dict (a config file). Names may contain dashes instead of underscores.

        Raises UsageError for invalid values, and for unknown names (the message lists the valid ones).
        """
        return _from_mapping(cls, options)

    def merge(self, changes: Mapping[str, Any]) -> SlurmOptions:
        """These options with ``changes`` applied. Raises UsageError as :meth:`from_mapping` does."""
        return replace(self, **option_values(type(self), changes, type(self).__name__))

    @property
    def transfer(self) -> FileTransfer | None:
        """How jobs get and return their files; None if they see the experiment's directory."""
        return self.file_transfer if isinstance(self.file_transfer, FileTransfer) else None

    @property
    def time_minutes(self) -> int | None:
        """The time limit in minutes; if the pool chooses the limit, its maximum. None: no limit, or UNLIMITED."""
        if self.time is None or self.time == _AUTO:
            return None
        if self.chooses_time:
            return minutes(str(self.time).removeprefix(f"{_AUTO}:"))
        return minutes(self.time)

    @property
    def unlimited(self) -> bool:
        """Whether jobs ask for no time limit at all, which is not the same as not stating one."""
        return self.time is not None and not self.chooses_time and self.time_minutes is None

    @property
    def chooses_time(self) -> bool:
        """Whether the pool chooses the time limits of its workers."""
        return isinstance(self.time, str) and (self.time == _AUTO or self.time.startswith(f"{_AUTO}:"))


@pickled_by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions(WorkerOptions):
    """Options of trials that run as processes of this machine.

    - ``cpus``: how many CPUs to use (default: those this process may use).
    - ``gpus``: a number, or the ids to use (default: CUDA_VISIBLE_DEVICES, else the list of nvidia-smi).
    - ``resources``: amounts of other resources, by names of your own: trials that ask for them share these amounts.
    - ``python``: the interpreter's command; ``setup``: shell lines run before it; ``env``: variables set for it.
    - ``kill_wait_s``: seconds from SIGTERM to SIGKILL when a job is cancelled (default 30).
    - Options of long-lived workers: see WorkerOptions.
    - ``doorbell``: the driver and the runs notify each other by UDP on the loopback device (default True).
    """

    cpus: int | None = None
    gpus: int | Sequence[int | str] | None = None
    python: str | None = None
    setup: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    kill_wait_s: float = 30.0
    poll_s: float = 0.05
    quiet_poll_s: float = 0.5
    doorbell: bool = True
    resources: Mapping[str, float] = field(default_factory=dict)

    _POSITIONS: ClassVar = (
        *("cpus", "gpus", "python", "setup", "env", "kill_wait_s", "poll_s", "quiet_poll_s", *_WORKER_FIELDS),
        "doorbell",
    )
    """The order of the fields in pickles of version 0.1.0."""

    def __post_init__(self) -> None:
        WorkerOptions.__post_init__(self)
        check_flag("doorbell", self.doorbell)
        _set(self, "setup", _lines("setup", self.setup))
        _set(self, "env", _environment(self.env))
        _whole(self, "cpus", 1)
        for name in ("kill_wait_s", "poll_s", "quiet_poll_s"):
            _positive(self, name)
        if isinstance(self.gpus, (str, bool)) or (isinstance(self.gpus, int) and self.gpus < 0):
            raise UsageError(f"gpus must be a number of GPUs or a list of their ids, not {self.gpus!r}.")
        _set(self, "resources", _own_resources(self.resources))
        if isinstance(self.gpus, Sequence):
            _set(self, "gpus", tuple(str(g) for g in self.gpus))

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> LocalOptions:
        """Options from a dict. Raises UsageError as :meth:`SlurmOptions.from_mapping` does."""
        return _from_mapping(cls, options)

    def merge(self, changes: Mapping[str, Any]) -> LocalOptions:
        """These options with ``changes`` applied. Raises UsageError as :meth:`from_mapping` does."""
        return replace(self, **option_values(type(self), changes, type(self).__name__))


def _own_resources(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise UsageError(f"resources must be a dict such as {{'license': 2}}, not {given!r}.")
    for name, amount in given.items():
        number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
        if not isinstance(name, str) or not number or not 0 <= amount < float("inf"):
            raise UsageError(f"resources: an amount of {name!r} must be a number of at least 0, not {amount!r}.")
        if name.lower() in ("cpu", "gpu", "memory"):
            raise UsageError(f"resources: {name!r} has an option of its own, or none: cpus=, gpus=.")
    return {str(name): float(amount) for name, amount in given.items()}


_TEXTS = (
    *("partition", "account", "qos", "constraint", "gres", "gpu_type", "exclude", "nodelist", "reservation"),
    *("dependency", "licenses", "mail_type", "mail_user", "job_name_prefix", "wckey", "clusters"),
    *("python",),
)


def _set(options: object, name: str, value: object) -> None:
    object.__setattr__(options, name, value)


def _from_mapping(cls: type[_Options], options: Mapping[str, Any]) -> _Options:
    return cls(**option_values(cls, options, cls.__name__))


def _lines(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
        raise UsageError(f"{name} must be a list of strings, not {value!r}.")
    return tuple(value)


def _environment(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise UsageError(f"env must be a dict of names and values, not {value!r}.")
    for name, text in value.items():
        if not _ENV_NAME.fullmatch(str(name)) or "\0" in str(text):
            raise UsageError(f"env: {name!r} is not a valid name, or has no valid value, for an environment variable.")
    return {str(k): str(v) for k, v in value.items()}


def _whole(options: object, name: str, min_value: int, max_value: int | None = None) -> None:
    value = getattr(options, name)
    if value is not None:
        check_whole(name, value, min_value, max_value)


def _positive(options: object, name: str) -> None:
    check_positive(name, getattr(options, name))
