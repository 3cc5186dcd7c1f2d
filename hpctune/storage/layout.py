"""Every path in an experiment directory, with its one writer.

======================================  ==================  =====================================================
path                                    sole writer         what
======================================  ==================  =====================================================
``experiment.json``                     driver, once        the frozen definition, for people and programs
``trainable.pkl``, ``objects/``         driver, once        the user's code and large objects, for the workers
``driver.pkl``                          driver, once        search space, policies, callbacks, for a resumed driver
``callbacks.pkl``                       driver              what callbacks want back in the next driver, if anything
``journal/000001.jsonl`` ...            lease holder N      every fact, in order: the truth
``driver.lock``, ``lease.json``         driver              who drives
``driver.json``                         driver              a glance at the driver: polls, calls (may be absent)
``drivers/driver.sh``, ...              see driverjobs.py   driver jobs of ``run --sbatch``: script, records, output
``inbox.jsonl``, ``inbox.lock``         CLI, under lock     commands to the driver
``jobs/``                               cluster             job scripts; tidied when jobs have ended
``workers/w0001/worker.json``           driver, once        what a worker of a pool is
``workers/w0001/orders.json``           driver              what it shall do now; the last whole line counts
``workers/w0001/run-R.jsonl``           start R of worker   what became of it
``workers/w0001/stdout``, ``stderr``    the worker's job    its own output
``pbt_policy_*.txt``                    driver              population based training: who took over from whom
``quarantine/``                         fsck                what a repair took out, with the reasons
``doorbell.json``                       driver              where it listens while it lives, if it does
``TRIAL/control.json``                  driver              what the trial's current attempt shall do; likewise
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
    "doorbell.json", "driver.json", "driver.lock", "driver.pkl", "drivers", "experiment.json", "inbox.jsonl",
    "inbox.lock", "jobs", "journal", "lease.json", "objects", "pbt_global.txt", "quarantine", "trainable.pkl",
    "workers",
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
    def doorbell(self) -> Path:
        return self.root / "doorbell.json"

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
    def callbacks(self) -> Path:
        return self.root / "callbacks.pkl"

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
    def drivers(self) -> Path:
        return self.root / "drivers"

    @property
    def driver_script(self) -> Path:
        return self.drivers / "driver.sh"

    @property
    def driver_options(self) -> Path:
        return self.drivers / "options.json"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox.jsonl"

    @property
    def inbox_lock(self) -> Path:
        return self.root / "inbox.lock"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def workers(self) -> Path:
        return self.root / "workers"

    def worker(self, name: str) -> WorkerPaths:
        return WorkerPaths(self.workers / name)

    def trial(self, dirname: str) -> TrialPaths:
        return TrialPaths(self.root / dirname)


@dataclass(frozen=True, slots=True)
class WorkerPaths:
    """Paths of one worker of a pool (absolute)."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "worker.json"

    @property
    def orders(self) -> Path:
        return self.root / "orders.json"

    def run(self, restart: int) -> Path:
        return self.root / f"run-{restart}.jsonl"

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"


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
