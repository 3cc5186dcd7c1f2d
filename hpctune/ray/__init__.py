"""``import ray`` means hpctune: in this process after :func:`install`, and in all processes that it starts.

``site/`` is a directory for Python's search path, which holds a package ``ray``. It is put before the place of an
installed Ray; the environment's PYTHONPATH takes it to child processes, an experiment's bundle takes it to jobs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SITE = str(Path(__file__).parent / "site")
"""The directory in which ``import ray`` finds hpctune."""
VERSION = "2.60.0"
"""The version of Ray whose names are here."""


def install() -> None:
    """Let ``ray`` be hpctune, from now on. Raises UsageError if another Ray has been imported."""
    known = sys.modules.get("ray")
    if known is not None and not getattr(known, "__hpctune__", False):
        from hpctune.errors import UsageError

        raise UsageError(
            f"ray has been imported before, from {getattr(known, '__file__', None)}. Call hpctune.ray.install() first, "
            "or start the script with: hpctune run SCRIPT.py"
        )
    sys.path[:] = [SITE, *(entry for entry in sys.path if entry != SITE)]
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != SITE]
    os.environ["PYTHONPATH"] = os.pathsep.join([SITE, *inherited])


def installed() -> bool:
    """Whether ``import ray`` in this process gives hpctune."""
    known = sys.modules.get("ray")
    return SITE in sys.path if known is None else bool(getattr(known, "__hpctune__", False))
