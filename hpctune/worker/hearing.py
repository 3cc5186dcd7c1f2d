"""Programs whose results are heard: what they log to W&B or Sacred, not what they print."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hpctune.common.named_state import pickled_by_name
from hpctune.worker.command import Command

HEARING = str(Path(__file__).parent / "hearing_site")
"""What hears, for Python's search path: it needs nothing but the standard library."""


@pickled_by_name
@dataclass(frozen=True, slots=True)
class HeardCommand(Command):
    """A Python program in which a package is followed.

    - ``metric``: which value makes a result; None: each does.
    """

    metric: str | None = None
    SITE: ClassVar[str]
    """The directory with what is imported in place of the package."""

    def heard(self) -> dict[str, str]:
        """The variables that say what is heard."""
        metric = {"HPCTUNE_HEARD_METRIC": self.metric} if self.metric else {}
        return {"HPCTUNE_HEARD_STEP_ID": os.environ.get("SLURM_STEP_ID", ""), **metric}

    def search_path(self, known: str | None) -> dict[str, str]:
        """The usual variables, with what is heard at the begin of Python's search path."""
        found = Command.search_path(self, known)
        rest = found.get("PYTHONPATH", known)
        return {**found, "PYTHONPATH": heard_path(self.SITE, rest)}


def heard_path(site: str, rest: str | None) -> str:
    """Python's search path with ``site`` before the ``rest``."""
    return os.pathsep.join([site, HEARING, *([rest] if rest else [])])


def interpreter() -> str:
    """The Python of the user's programs: the one on the search path, else that of hpctune."""
    return "python" if shutil.which("python") else sys.executable
