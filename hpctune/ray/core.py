"""``ray.init`` and what belongs to it; ``ray.put`` and ``ray.get``. There is no cluster to start."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.storage.objects import Parameter

_WITHOUT_MEANING = {
    "address": "there is no Ray cluster",
    "num_cpus": "on Slurm max_concurrent_trials limits how many trials run at a time",
    "num_gpus": "trials ask for GPUs themselves",
    "resources": "ask for other resources with the Slurm options gres, constraint and licenses",
    "labels": "nodes are chosen with the Slurm option constraint",
    "object_store_memory": "objects are in files",
    "runtime_env": "jobs use the environment of the driver",
    "enable_resource_isolation": "Slurm isolates the jobs",
    "system_reserved_cpu": "Slurm isolates the jobs",
    "system_reserved_memory": "Slurm isolates the jobs",
    "cgroup_path": "Slurm isolates the jobs",
    "include_dashboard": "hpctune status shows the experiment",
    "dashboard_host": "hpctune status shows the experiment",
    "dashboard_port": "hpctune status shows the experiment",
    "proxy_server_url": "there is no Ray cluster",
    "redis_address": "there is no Ray cluster",
    "redis_password": "there is no Ray cluster",
    "redis_max_memory": "there is no Ray cluster",
    "driver_object_store_memory": "objects are in files",
    "plasma_directory": "objects are in files",
    "huge_pages": "objects are in files",
    "memory": "trials ask for memory themselves",
    "temp_dir": "the files are in storage_path",
    "_temp_dir": "the files are in storage_path",
    "webui_host": "hpctune status shows the experiment",
    "include_webui": "hpctune status shows the experiment",
    "lru_evict": "objects are in files",
}
_OF_MACHINE = {"num_cpus": "cpus", "num_gpus": "gpus", "resources": "resources"}
"""Options that say what this machine has, with the names that LocalOptions has for them."""
_SILENT = frozenset({
    "ignore_reinit_error", "local_mode", "log_to_driver", "configure_logging", "logging_level", "logging_format",
    "logging_config", "namespace", "job_config", "_system_config", "_node_ip_address",
    "_driver_object_store_memory", "_memory", "_redis_password", "_metrics_export_port", "_tracing_startup_hook",
    "_node_name", "job_id", "driver_mode", "redis_max_clients", "num_redis_shards", "redis_port",
    "redis_shard_ports", "object_id_seed", "node_ip_address", "object_manager_address", "raylet_ip_address",
    "redirect_worker_output", "redirect_output", "plasma_store_socket_name", "raylet_socket_name",
    "load_code_from_local", "use_pickle", "_internal_config", "java_worker_options", "autoscaling_config",
    "ignore_version", "metrics_export_port", "enable_object_reconstruction", "use_raylet",
    "_enable_object_reconstruction", "_redis_max_memory", "_plasma_directory", "_lru_evict",
    "_object_spilling_config", "_redis_username",
})  # fmt: skip
"""What changes nothing that a user could miss."""

_initialized = False
_told: set[str] = set()


class ClientContext(Mapping[str, Any]):
    """What ``ray.init`` returns; ``with ray.init():`` ends with ``ray.shutdown()``."""

    dashboard_url: str | None = None
    python_version = platform.python_version()

    def __init__(self) -> None:
        from hpctune.ray import VERSION
        from hpctune.ray.machine import get_node_ip_address

        self.ray_version, self.ray_commit = VERSION, ""
        self.address_info = {
            "node_ip_address": get_node_ip_address(),
            "address": "local",
            "webui_url": None,
            "session_dir": None,
            "node_id": get_node_ip_address(),
        }

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __enter__(self) -> ClientContext:
        return self

    def __exit__(self, *_: object) -> None:
        shutdown()

    def disconnect(self) -> None:
        """The same as ``ray.shutdown()``."""
        shutdown()


def init(address: str | None = None, **options: Any) -> ClientContext:
    """Start nothing. ``local_mode=True``: trials run in this process. ``runtime_env={"env_vars": ...}``: variables of
    this process and of the jobs. What else is given and has no meaning is told once.

    Raises RuntimeError at the second call, without ``ignore_reinit_error``; TypeError for an unknown option.
    """
    global _initialized
    if address is not None:
        options["address"] = address
    unknown = sorted({*options}.difference(_WITHOUT_MEANING, _SILENT))
    if unknown:
        raise TypeError(f"ray.init() has no option {', '.join(unknown)}.")
    if _initialized:
        if options.get("ignore_reinit_error"):
            return ClientContext()
        raise RuntimeError(
            "ray.init() was called twice. Call ray.shutdown() in between, or pass ignore_reinit_error=True."
        )
    _initialized = True
    _use(options)
    return ClientContext()


def _use(options: Mapping[str, Any]) -> None:
    given = {name: value for name, value in options.items() if value not in (None, False, "auto", "local", {}, 0)}
    runtime = given.get("runtime_env")
    if isinstance(runtime, Mapping):
        os.environ.update({str(name): str(value) for name, value in (runtime.get("env_vars") or {}).items()})
        rest = [name for name in runtime if name not in ("env_vars", "config")]
        if not rest:
            del given["runtime_env"]
    from hpctune.launch import overrides

    machine = _machine(options)
    if given.get("local_mode") or machine:
        overrides.prefer(cluster="debug" if given.get("local_mode") else None, machine=machine)
    news = sorted(
        name
        for name in given
        if name in _WITHOUT_MEANING and name not in _told and _OF_MACHINE.get(name) not in machine
    )
    if news:
        _told.update(news)
        log.warning(
            "hpctune: ray.init() starts nothing here, and these options have no meaning: "
            + "; ".join(f"{name} ({_WITHOUT_MEANING[name]})" for name in news)
            + "."
        )


def _machine(options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``ray.init`` says of this machine, as options of the cluster "local"; nothing if there is Slurm here."""
    from hpctune.cluster.choice import slurm_is_here

    given = {ours: options.get(theirs) for theirs, ours in _OF_MACHINE.items()}
    machine = {name: value for name, value in given.items() if value is not None and value != {}}
    return machine if machine and not slurm_is_here(os.environ) else {}


def shutdown(*_: Any, **__: Any) -> None:
    """Undo ``ray.init``."""
    global _initialized
    from hpctune.launch import overrides
    from hpctune.ray import remote

    overrides.prefer(cluster=None)
    remote.forget_actors()
    _initialized = False


def is_initialized() -> bool:
    """Whether ``ray.init`` was called."""
    return _initialized


def function(value: Any) -> Any:
    """What 0.x needed to tell a function of a configuration from a value that is to be drawn."""
    return value


# -- objects ---------------------------------------------------------------------------------------------------------


class ObjectRef:
    """The value of ``ray.put``, of a task or of an actor's method. In a job it is read from a file when it is used."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value, self._error = Parameter(value), error

    def get(self) -> Any:
        """The value. Raises what the task has raised."""
        if self._error is not None:
            raise self._error
        return self._value.get()

    def __getstate__(self) -> dict[str, Any]:
        return {"_value": self._value, "_error": self._error}

    def __repr__(self) -> str:
        return f"ObjectRef({id(self):024x})"

    def hex(self) -> str:
        """A name for it."""
        return f"{id(self):024x}"

    def future(self) -> Any:
        """A ``concurrent.futures.Future`` with the value."""
        from concurrent.futures import Future

        made: Future[Any] = Future()
        if self._error is not None:
            made.set_exception(self._error)
        else:
            made.set_result(self._value.get())
        return made

    def __await__(self) -> Iterator[Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        return self.get()


def put(value: Any, **_: Any) -> ObjectRef:
    """A reference to ``value``. Where it is sent to jobs, the value is in one file that all of them read."""
    if isinstance(value, ObjectRef):
        raise TypeError("ray.put() of an ObjectRef is not allowed: it is a reference already.")
    return ObjectRef(value)


def get(object_refs: Any, *, timeout: float | None = None, **_: Any) -> Any:
    """The value of a reference, or of a list of them. Raises what a task has raised."""
    if isinstance(object_refs, ObjectRef):
        return object_refs.get()
    if isinstance(object_refs, (list, tuple)) and all(isinstance(ref, ObjectRef) for ref in object_refs):
        return [ref.get() for ref in object_refs]
    raise ValueError(f"ray.get() takes an ObjectRef or a list of them, not {type(object_refs).__name__}.")


def wait(
    ray_waitables: Sequence[ObjectRef], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """The first ``num_returns`` references, and the others: tasks are over when their call returns."""
    refs = list(ray_waitables)
    if not all(isinstance(ref, ObjectRef) for ref in refs):
        raise TypeError("ray.wait() takes a list of ObjectRef.")
    if not 0 < num_returns <= len(refs):
        raise ValueError(f"num_returns={num_returns} must be from 1 to the number of references, {len(refs)}.")
    return refs[:num_returns], refs[num_returns:]


def cancel(ray_waitable: Any, **_: Any) -> None:
    """Nothing: a task is over when its call returns."""


def timeline(filename: str | None = None) -> Any:
    """Not here: ``hpctune timeline`` draws an experiment."""
    raise UsageError("ray.timeline() is not here. hpctune timeline DIR draws when each trial ran.")


LOCAL_MODE, SCRIPT_MODE, WORKER_MODE = 2, 0, 1
