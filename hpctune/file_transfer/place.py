"""One attempt of a trial, and where its files are: on the driver's host and on this node."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpctune.storage.layout import ExperimentPaths, TrialPaths


@dataclass(frozen=True, slots=True)
class Place:
    """``root``: the experiment's directory on the driver's host. ``stdout`` and ``stderr``: the files there that get
    the output, or the null device. ``here``: the job's own directory on this node."""

    root: str
    dirname: str
    attempt: int
    stdout: str
    stderr: str
    here: Path

    @property
    def trial(self) -> str:
        """The trial's directory on the driver's host."""
        return f"{self.root}/{self.dirname}"

    @property
    def experiment(self) -> ExperimentPaths:
        """The experiment on this node."""
        return ExperimentPaths(self.here / os.path.basename(self.root))

    @property
    def paths(self) -> TrialPaths:
        """The trial on this node."""
        return self.experiment.trial(self.dirname)

    def local(self, path: str) -> Path:
        """Where a file of the driver's host is to be on this node."""
        if path.startswith(f"{self.root}/"):
            return self.experiment.root / path[len(self.root) + 1 :]
        return self.here / "elsewhere" / path.lstrip("/")

    def run_name(self, restart: int) -> str:
        """The name of the run file of a start of this attempt."""
        return os.path.basename(self.paths.run(self.attempt, restart))
