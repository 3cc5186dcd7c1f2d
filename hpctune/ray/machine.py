"""What this process can use: ``ray.nodes``, ``ray.cluster_resources`` and the like."""

from __future__ import annotations

import os
import socket
from typing import Any

from hpctune.cluster.local.machine import cpu_count, gpu_ids


def cluster_resources() -> dict[str, float]:
    """The CPUs, the GPUs and the memory (in bytes) that this process may use; if ``ray.init`` said what this machine
    has, that. Slurm's nodes are not counted."""
    from hpctune.launch import overrides

    stated = overrides.current().machine
    gpus = stated.get("gpus", len(gpu_ids(os.environ)))
    return {
        "CPU": float(stated.get("cpus", cpu_count())),
        **({"GPU": float(gpus)} if gpus else {}),
        "memory": float(_memory()),
        **{name: float(value) for name, value in (stated.get("resources") or {}).items()},
        f"node:{get_node_ip_address()}": 1.0,
    }


def available_resources() -> dict[str, float]:
    """The same as :func:`cluster_resources`: nothing of it is reserved."""
    return cluster_resources()


def nodes() -> list[dict[str, Any]]:
    """This node."""
    return [
        {
            "NodeID": get_node_ip_address(),
            "Alive": True,
            "alive": True,
            "NodeManagerAddress": get_node_ip_address(),
            "NodeManagerHostname": socket.gethostname(),
            "NodeName": get_node_ip_address(),
            "Resources": cluster_resources(),
            "Labels": {},
        }
    ]


def get_gpu_ids() -> list[int] | list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    ids = gpu_ids(os.environ)
    return [int(each) for each in ids] if all(each.isdigit() for each in ids) else list(ids)


def get_node_ip_address(*_: Any) -> str:
    """The address of this node."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class RuntimeContext:
    """Facts about this process."""

    namespace, was_current_actor_reconstructed = "default", False

    def get_job_id(self) -> str:
        """The Slurm job, or the process."""
        return os.environ.get("SLURM_JOB_ID") or os.environ.get("HPCTUNE_JOB_ID") or str(os.getpid())

    def get_node_id(self) -> str:
        """The address of the node."""
        return get_node_ip_address()

    def get_worker_id(self) -> str:
        """The process."""
        return str(os.getpid())

    def get_task_id(self) -> str | None:
        """None: tasks have no processes of their own."""
        return None

    def get_actor_id(self) -> str | None:
        """None: actors have no processes of their own."""
        return None

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The GPUs."""
        return {"GPU": [str(each) for each in get_gpu_ids()]}

    def get_assigned_resources(self) -> dict[str, float]:
        """What this process may use."""
        return {name: value for name, value in cluster_resources().items() if name in ("CPU", "GPU")}

    def get_placement_group_id(self) -> str | None:
        """None: this process is in none."""
        return None

    def get_runtime_env_string(self) -> str:
        """``{}``: jobs use the environment of the driver."""
        return "{}"

    def get_actor_name(self) -> str | None:
        """None: actors have no processes of their own."""
        return None

    def get_task_name(self) -> str | None:
        """None: tasks have no processes of their own."""
        return None

    def get(self) -> dict[str, Any]:
        """The ids as a dict."""
        return {"job_id": self.get_job_id(), "node_id": self.get_node_id(), "namespace": self.namespace}

    job_id, node_id, worker_id = property(get_job_id), property(get_node_id), property(get_worker_id)
    task_id, actor_id = property(get_task_id), property(get_actor_id)
    runtime_env = property(lambda self: {})


def get_runtime_context() -> RuntimeContext:
    """Facts about this process."""
    return RuntimeContext()
