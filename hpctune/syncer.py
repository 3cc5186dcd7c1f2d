"""Ray Tune's names for synchronization, which is not supported: experiments are on a shared filesystem.

The names exist so that a script that imports them gets a clear error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hpctune.errors import NotYetSupportedError, UsageError


@dataclass
class SyncConfig:
    """Options of synchronization. Only the defaults are supported: all files are in ``storage_path``."""

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
    """Raise NotYetSupportedError if ``sync_config`` sets any option. The message names the first one."""
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
                f"SyncConfig({field.name}={value!r}) is not supported yet. All files are written to storage_path, "
                "which all nodes must see. Copy the experiment directory from there with rsync or scp."
            )


class _ContainerSyncer:
    """Base of the syncers that are not needed on a cluster with a shared filesystem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotYetSupportedError(
            f"{type(self).__name__} is not supported on Slurm: trials write to a shared filesystem. To run trials in "
            "a container, use SlurmOptions(container='apptainer exec --nv image.sif')."
        )


class DockerSyncer(_ContainerSyncer):
    """Raises NotYetSupportedError: use ``SlurmOptions(container=...)``."""


class NamespacedKubernetesSyncer(_ContainerSyncer):
    """Raises NotYetSupportedError: use ``SlurmOptions(container=...)``."""


KubernetesSyncer = NamespacedKubernetesSyncer
