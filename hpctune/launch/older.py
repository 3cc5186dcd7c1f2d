"""Arguments of earlier versions of Ray Tune, in today's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hpctune.common.log import log
from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.syncer import SyncConfig

SYNC = ("upload_dir", "sync_to_cloud", "sync_to_driver", "sync_on_checkpoint")
"""Fields of SyncConfig that were arguments of their own."""
WITHOUT_EFFECT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "queue_trials": ("trials always wait in the queue of the cluster", (None, True)),
    "global_checkpoint_period": ("each event is written down when it happens", (None, 10)),
    "ray_auto_init": ("there is nothing to start", (None, True, False)),
}
"""Arguments that are accepted: what happens instead, and the values that ask for just that."""


def check(function: str, older: Mapping[str, Any], known: Iterable[str], valid: Iterable[str]) -> None:
    """Raise TypeError for a name that is not in ``known``. ``valid``: names of today, to suggest one."""
    for name in older:
        if name not in known:
            raise TypeError(
                f"{function}() got an unexpected keyword argument {name!r}. {nearest(name, valid)}".rstrip()
            )


def tell(older: Mapping[str, Any]) -> None:
    """Say which of these arguments have no effect, unless they ask for what happens anyway."""
    for name, (instead, usual) in WITHOUT_EFFECT.items():
        if name in older and older[name] not in usual:
            log.info(f"{name}={older[name]!r} has no effect: {instead}.")


def with_sync(sync_config: Any, older: Mapping[str, Any]) -> Any:
    """``sync_config`` with the fields that were arguments of their own. Raises UsageError if there are both."""
    given = {name: older[name] for name in SYNC if older.get(name) is not None}
    if not given:
        return sync_config
    if sync_config is not None:
        raise UsageError(f"With sync_config, set {next(iter(given))} in it, not as an argument of its own.")
    return SyncConfig(**given)
