"""The names of clusters, for the command line too: this module imports nothing heavy."""

from __future__ import annotations

from hpctune.common import plugins

NAMES = ("auto", "slurm", "local", "debug")
"""The clusters that need no plug-in; "auto" becomes one of the others."""


def valid_names() -> tuple[str, ...]:
    """The names of all clusters, those of plug-ins included."""
    return (*NAMES, *plugins.names(plugins.CLUSTERS))
