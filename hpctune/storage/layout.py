"""Every path in an experiment directory, with its one writer.

======================================  ==================  =====================================================
path                                    sole writer         what
======================================  ==================  =====================================================
``experiment.json``                     driver, once        the frozen definition, for people and programs
``trainable.pkl``, ``objects/``         driver, once        the user's code and large objects, for the workers
``driver.pkl``                          driver, once        search space, policies, callbacks, for a resumed driver
``journal/000001.jsonl`` ...            lease holder N      every fact, in order: the truth
``driver.lock``, ``lease.json``         driver              who drives
``driver.json``                         driver              a glance at the driver: polls, calls (may be absent)
``inbox.jsonl``, ``inbox.lock``         CLI, under lock     commands to the driver
``jobs/``                               cluster             job scripts; tidied when jobs have ended
``TRIAL/control.json``                  driver              what the trial's current attempt shall do
``TRIAL/run-A.R.jsonl``                 run R of attempt A  claim, results, exit record
``TRIAL/checkpoint_*``                  a run               complete checkpoints; deleted by the driver only
``TRIAL/stdout``, ``TRIAL/stderr``      the job             output of all attempts, appended
``TRIAL/result.json``, ``params.*``     driver (logger)     projections of the journal: can be rebuilt
``TRIAL/progress.csv``, ``events.*``    driver (logger)     likewise
``TRIAL/error.txt``                     driver              the last traceback
======================================  ==================  =====================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpctune.model.ids import RunKey

CHECKPOINT_PREFIX = "checkpoint_"
RESERVED = frozenset({
    "driver.json", "driver.lock", "driver.pkl", "experiment.json", "inbox.jsonl", "inbox.lock", "jobs", "journal",
    "lease.json", "objects", "trainable.pkl",
})  # fmt: skip
"""Names in an experiment directory that no trial may have."""


@dataclass(frozen=True, slots=True)
class ExperimentPaths:
    """Paths of one experiment directory (absolute)."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "experiment.json"

    @property
    def trainable(self) -> Path:
        return self.root / "trainable.pkl"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def driver_bundle(self) -> Path:
        return self.root / "driver.pkl"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def lock(self) -> Path:
        return self.root / "driver.lock"

    @property
    def lease(self) -> Path:
        return self.root / "lease.json"

    @property
    def glance(self) -> Path:
        return self.root / "driver.json"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox.jsonl"

    @property
    def inbox_lock(self) -> Path:
        return self.root / "inbox.lock"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def trial(self, dirname: str) -> TrialPaths:
        return TrialPaths(self.root / dirname)


@dataclass(frozen=True, slots=True)
class TrialPaths:
    """Paths of one trial directory (absolute)."""

    root: Path

    @property
    def control(self) -> Path:
        return self.root / "control.json"

    def run(self, attempt: int, restart: int) -> Path:
        return self.root / f"run-{attempt}.{restart}.jsonl"

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"

    @property
    def error(self) -> Path:
        return self.root / "error.txt"

    def checkpoint(self, name: str) -> Path:
        return self.root / name


def checkpoint_name(run: RunKey, iteration: int) -> str:
    """The directory name of the checkpoint that ``run`` makes at ``iteration``; no two runs share one."""
    suffix = "" if (run.attempt, run.restart) == (1, 0) else f"-{run.attempt}.{run.restart}"
    return f"{CHECKPOINT_PREFIX}{iteration:06d}{suffix}"
