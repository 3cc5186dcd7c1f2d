"""The names of clusters, for the command line too: this module imports nothing heavy."""

from __future__ import annotations

from hpctune.common import plugins

NAMES = ("auto", "slurm", "local", "ssh", "debug")
"""The clusters that need no plug-in; "auto" becomes one of the others."""


SSH_SHARED = frozenset({"python", "setup"})
"""The options of Slurm jobs that machines that are reached by ssh have, too."""


def valid_names() -> tuple[str, ...]:
    """The names of all clusters, those of plug-ins included."""
    return (*NAMES, *plugins.names(plugins.CLUSTERS))
