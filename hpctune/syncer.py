"""``SyncConfig``: a copy of each experiment elsewhere, in the words of all generations of Ray Tune."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.common import urls
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.mirror.options import (
    PERIOD_S,
    TIMEOUT_S,
    MirrorOptions,
    as_text,
    check_template,
    has_sync_up,
    is_elsewhere,
    is_url,
)  # fmt: skip
from hpctune.mirror.target import as_fsspec


class Syncer(ABC):
    """Base of syncers of one's own. The driver's thread calls :meth:`sync_up`, and :meth:`wait` after it.

    Args:
        sync_period: Seconds between two calls, if SyncConfig says nothing else.
    """

    def __init__(self, sync_period: float = PERIOD_S) -> None:
        self.sync_period = sync_period

    @abstractmethod
    def sync_up(self, local_dir: str, remote_dir: str, exclude: Sequence[str] | None = None) -> bool:
        """Bring ``local_dir`` to ``remote_dir``, so that both are equal. Returns whether that has begun."""

    @abstractmethod
    def sync_down(self, remote_dir: str, local_dir: str, exclude: Sequence[str] | None = None) -> bool:
        """The reverse."""

    @abstractmethod
    def delete(self, remote_dir: str) -> bool:
        """Remove ``remote_dir``."""

    def wait(self) -> None:
        """Wait until what was begun has ended. Raise an exception if it failed. The base class waits for nothing."""
        return


@dataclass
class SyncConfig:
    """A copy of each experiment in another place, which follows it while the search runs.

    The experiment itself is always in a directory that all nodes see. ``docs/how-to/mirror.md`` explains the copy.
    Without names, the first arguments may also be those of Ray Tune 1 and 2.0: upload_dir, syncer, sync_period.

    Args:
        upload_dir: Where the copies are: ``s3://bucket/dir``, ``gs://``, ``sftp://user@host/dir``, ``file:///dir``, or
            any other URL of fsspec. Or give such a URL as ``storage_path``.
        syncer: "auto": by fsspec. A command with ``{source}`` and ``{target}``, a function of these two, or a Syncer.
            None: no copy. ``sync_to_cloud`` is its older name.
        sync_period: Seconds between two passes; ``cloud_sync_period`` is its older name.
        sync_timeout: Seconds that the last pass may take, when the driver ends.
        sync_artifacts: Also other files of the trials' directories than those of hpctune.
        sync_on_checkpoint, sync_artifacts_on_checkpoint: Accepted; each pass takes all checkpoints.
        sync_to_driver, node_sync_period: Accepted; all nodes see the experiment's directory.
    """

    sync_period: float = PERIOD_S
    sync_timeout: float = TIMEOUT_S
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True
    upload_dir: str | os.PathLike[str] | None = None
    syncer: str | Callable[[str, str], Any] | Syncer | None = "auto"
    sync_on_checkpoint: bool = True
    node_sync_period: float = -1
    cloud_sync_period: float = -1
    sync_to_cloud: str | Callable[[str, str], Any] | None = None
    sync_to_driver: bool | str | Callable[[str, str], Any] | None = None

    def __post_init__(self) -> None:
        first = self.sync_period
        if not isinstance(first, (str, os.PathLike)) or str(first).replace(".", "").isdigit():
            return
        second: Any = self.sync_timeout
        third = self.sync_artifacts
        if self.upload_dir is not None:
            raise UsageError(f"sync_period must be a number of seconds above 0, not {first!r}.")
        self.upload_dir, self.sync_period, self.sync_timeout, self.sync_artifacts = first, PERIOD_S, TIMEOUT_S, False
        if second != TIMEOUT_S:
            self.syncer = second
        if not isinstance(third, bool):
            self.sync_period = third


def mirror_options(
    sync_config: SyncConfig | dict[str, Any] | None, storage_path: object = None, filesystem: object = None
) -> MirrorOptions | None:
    """The mirror that a user asks for; None if none.

    ``storage_path``: counts if it is a URL, or if there is a ``filesystem``. Raises UsageError for values that are
    impossible or contradict each other.
    """
    config = SyncConfig(**sync_config) if isinstance(sync_config, dict) else sync_config or SyncConfig()
    if not isinstance(config, SyncConfig):
        raise UsageError(f"sync_config must be a SyncConfig, not {sync_config!r}.")
    if filesystem is not None:
        as_fsspec(filesystem)
        if storage_path is None:
            raise UsageError("storage_filesystem needs storage_path=, the place of the copies on it.")
    for command in (config.syncer, config.sync_to_cloud, config.sync_to_driver):
        if isinstance(command, str) and command != "auto":
            check_template(command)
    remote = storage_path if filesystem is not None or is_elsewhere(storage_path) else None
    if config.upload_dir and remote is not None and str(config.upload_dir) != str(remote):
        both = f"storage_path={storage_path!r} and upload_dir={config.upload_dir!r}"
        raise UsageError(f"{urls.public_text(both)} differ. Keep one of them.")
    place = (config.upload_dir or None) if remote is None else remote
    place = as_text(place) if isinstance(place, os.PathLike) else place
    means = config.sync_to_cloud if config.sync_to_cloud is not None else config.syncer
    if place is None:
        if config.sync_to_cloud is not None:
            raise UsageError("sync_to_cloud needs upload_dir=, the place of the copies.")
        return None
    if means is None:
        return None
    if not isinstance(place, str):
        raise UsageError(f"upload_dir must be a URL or a directory, not {place!r}.")
    if isinstance(means, type):
        raise UsageError(f"syncer={means.__name__} is a class. Make an object of it: syncer={means.__name__}().")
    if not (means == "auto" or isinstance(means, str) or callable(means) or has_sync_up(means)):
        raise UsageError(f"syncer must be None, 'auto', a command, a function or a Syncer, not {means!r}.")
    if config.sync_to_driver not in (None, True, False) or config.node_sync_period > 0:
        log.info("sync_to_driver and node_sync_period have nothing to do: all nodes see the experiment's directory.")
    return MirrorOptions(
        place=place if filesystem is not None or is_url(place) or means != "auto" else f"file://{place}",
        filesystem=filesystem,
        means=means,
        period_s=_period(config, means),
        timeout_s=config.sync_timeout,
        artifacts=bool(config.sync_artifacts),
    )


def _period(config: SyncConfig, means: object) -> float:
    """The seconds between two passes: as SyncConfig says, else as a Syncer itself says."""
    if config.cloud_sync_period > 0:
        return config.cloud_sync_period
    own = getattr(means, "sync_period", None)
    return own if own is not None and config.sync_period == PERIOD_S else config.sync_period


class DockerSyncer(Syncer):
    """Does nothing: trials in containers write to the shared filesystem, which the container sees as well.

    To run trials in a container: ``SlurmOptions(container=Apptainer(image="image.sif", nv=True))``.
    """

    def __init__(self, sync_period: float = PERIOD_S) -> None:
        super().__init__(sync_period)
        log.info(
            f"{type(self).__name__} has nothing to do: trials in containers write to the shared filesystem. To run "
            "trials in a container: SlurmOptions(container=Apptainer(image=...)). A copy elsewhere: storage_path='s3://...'."
        )

    def sync_up(self, local_dir: str, remote_dir: str, exclude: Sequence[str] | None = None) -> bool:
        """Nothing is to be done."""
        return True

    def sync_down(self, remote_dir: str, local_dir: str, exclude: Sequence[str] | None = None) -> bool:
        """Nothing is to be done."""
        return True

    def delete(self, remote_dir: str) -> bool:
        """Nothing is to be done."""
        return True


class KubernetesSyncer(DockerSyncer):
    """Does nothing, as :class:`DockerSyncer`."""


def NamespacedKubernetesSyncer(namespace: str) -> type[KubernetesSyncer]:  # noqa: N802
    """:class:`KubernetesSyncer`, whatever the namespace."""
    return KubernetesSyncer
