"""Synchronizing to other places. Experiments lie on a shared filesystem, so there is nothing to synchronize so far;
the names are here so that scripts that import them say clearly what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hpctune.errors import NotYetSupportedError, UsageError


@dataclass
class SyncConfig:
    """Where and how to synchronize. Only the defaults are supported: everything lies in ``storage_path``."""

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True
    upload_dir: str | None = None
    syncer: str | Callable[[str, str], Any] | None = "auto"
    sync_on_checkpoint: bool = True
    node_sync_period: int = -1
    cloud_sync_period: int = -1
    sync_to_cloud: str | Callable[[str, str], Any] | None = None
    sync_to_driver: bool | str | Callable[[str, str], Any] | None = None


def refuse_sync(sync_config: object) -> None:
    """Raise NotYetSupportedError when ``sync_config`` asks for anything, naming the first thing it asks for."""
    if sync_config is None:
        return
    given = SyncConfig(**sync_config) if isinstance(sync_config, dict) else sync_config
    if not isinstance(given, SyncConfig):
        raise UsageError(f"sync_config must be a SyncConfig, not {sync_config!r}.")
    for field in fields(SyncConfig):
        value = getattr(given, field.name)
        off = field.name in ("syncer", "sync_on_checkpoint", "sync_to_driver") and not value
        if value != field.default and not off:
            raise NotYetSupportedError(
                f"SyncConfig({field.name}={value!r}) is not supported yet. Everything is written to storage_path, "
                "which all nodes must see; copy the experiment directory from there with rsync or scp."
            )


class _ContainerSyncer:
    """Base of the syncers that have no meaning on a cluster with a shared filesystem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotYetSupportedError(
            f"{type(self).__name__} has no meaning on Slurm: trials write to a shared filesystem. To run trials in a "
            "container, use SlurmOptions(container='apptainer exec --nv image.sif')."
        )


class DockerSyncer(_ContainerSyncer):
    """Raises NotYetSupportedError: use ``SlurmOptions(container=...)``."""


class NamespacedKubernetesSyncer(_ContainerSyncer):
    """Raises NotYetSupportedError: use ``SlurmOptions(container=...)``."""


KubernetesSyncer = NamespacedKubernetesSyncer
