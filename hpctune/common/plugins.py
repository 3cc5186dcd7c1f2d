"""Plug-ins: what other packages add by entry points, found when its name is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpctune.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CLUSTERS, SEARCHERS = "hpctune.clusters", "hpctune.searchers"
SCHEDULERS, LOGGERS = "hpctune.schedulers", "hpctune.loggers"


def names(group: str) -> list[str]:
    """The names that installed packages add to ``group``."""
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=group)})


def find(group: str, name: str) -> Any:
    """What the entry point ``name`` of ``group`` refers to; None if no installed package has it.

    Raises UsageError if two packages have the name, or the object cannot be imported.
    """
    from importlib.metadata import entry_points

    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        owners = ", ".join(sorted(map(_package, found.values())))
        raise UsageError(f"Several packages add {name!r} to {group}: {owners}. Uninstall all of them but one.")
    (entry,) = found.values()
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{name!r} of {group}, which the package {_package(entry)} adds, cannot be imported: {error}. "
            f"Fix or uninstall it: pip uninstall {_package(entry)}"
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
