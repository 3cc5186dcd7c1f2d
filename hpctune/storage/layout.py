"""The paths in an experiment directory. Each file has one writer.

======================================  ==================  =====================================================
path                                    sole writer         content
======================================  ==================  =====================================================
``experiment.json``                     driver, once        the frozen definition, for people and programs
``trainable.pkl``, ``objects/``         driver, once        the user's code and large objects, for the workers
``uncommitted.diff``                    driver, once        changes of the user's code that git has not committed
``code/``                               driver              sources of the user's code, as they were submitted
``driver.pkl``                          driver, once        search space, policies, callbacks, for a resumed driver
``callbacks.pkl``                       driver              states of callbacks for the next driver, if any
``journal/000001.jsonl`` ...            lease holder N      every event, in order: the authoritative record
``driver.lock``, ``lease.json``         driver              which process drives
``driver.json``                         driver              status of the driver: polls, calls (may be absent)
``drivers/driver.sh``, ...              see driver_jobs.py  driver jobs of ``run --sbatch``: script, records, output
``inbox.jsonl``, ``inbox.lock``         CLI, under lock     commands to the driver
``jobs/``                               cluster             job scripts; removed after jobs have ended
``workers/w0001/worker.json``           driver, once        definition of a worker of a pool
``workers/w0001/orders.json``           driver              its current orders; the last complete line counts
``workers/w0001/run-R.jsonl``           start R of worker   its record: assignments begun and ended
``workers/w0001/stdout``, ``stderr``    the worker's job    its own output
``pbt_policy_*.txt``                    driver              population based training: which trial copied which
``quarantine/``                         fsck                what a repair removed, with the reasons
``doorbell.json``                       driver              UDP address of the driver while it lives, if it has one
``TRIAL/control.json``                  driver              orders to the current attempt; the last line counts
``TRIAL/run-A.R.jsonl``                 run R of attempt A  claim, results, exit record
``TRIAL/checkpoint_*``                  a run               complete checkpoints; deleted by the driver only
``TRIAL/optuna-params.jsonl``           a run               an Optuna trial's parameters, its sampler's state
``TRIAL/stdout``, ``TRIAL/stderr``      the job             output of all attempts, appended
``TRIAL/result.json``, ``params.*``     driver (logger)     projections of the journal: can be rebuilt
``TRIAL/progress.csv``, ``events.*``    driver (logger)     likewise
``TRIAL/error.txt``                     driver              the last traceback
``note.txt``, ``TRIAL/note.txt``        hpctune note        notes of people
======================================  ==================  =====================================================
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.model.ids import RunKey

if TYPE_CHECKING:
    from _typeshed import StrPath

CHECKPOINT_PREFIX = "checkpoint_"
NOTE = "note.txt"
"""The notes of people, in an experiment's or a trial's directory."""
RESERVED = frozenset({
    "code", "confirm.jsonl", "doorbell.json", "driver.json", "driver.lock", "driver.pkl", "drivers",
    "experiment.json", "inbox.jsonl", "inbox.lock", "jobs", "journal", "lease.json", "mirror.json",
    "mirror_status.json", "objects", "pbt_global.txt", "quarantine", "trainable.pkl", "uncommitted.diff", "workers",
    NOTE,
})  # fmt: skip
"""Names in an experiment directory that no trial may have."""


class _Directory:
    """An absolute directory, as text and, if needed, as a Path.

    Code that runs for each trial uses the text, because the creation of a Path often costs more than its use.
    """

    __slots__ = ("_root", "text")

    def __init__(self, root: StrPath) -> None:
        self.text = os.fspath(root)
        self._root = root if isinstance(root, Path) else None

    @property
    def root(self) -> Path:
        if self._root is None:
            self._root = Path(self.text)
        return self._root

    def at(self, name: str) -> str:
        """The path of ``name`` in the directory."""
        return f"{self.text}/{name}"

    def names(self) -> list[str]:
        """The names in the directory; empty if it was removed. Raises OSError."""
        try:
            return os.listdir(self.text)
        except FileNotFoundError:
            return []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class ExperimentPaths(_Directory):
    """Paths of one experiment directory."""

    __slots__ = ()

    @property
    def spec(self) -> Path:
        return self.root / "experiment.json"

    @property
    def doorbell(self) -> str:
        return self.at("doorbell.json")

    @property
    def trainable(self) -> str:
        return self.at("trainable.pkl")

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def code(self) -> Path:
        return self.root / "code"

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
    def driver_status(self) -> Path:
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
    def uncommitted(self) -> Path:
        return self.root / "uncommitted.diff"

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
        return TrialPaths(self.at(dirname))


class WorkerPaths(_Directory):
    """Paths of one worker of a pool."""

    __slots__ = ()

    @property
    def spec(self) -> Path:
        return self.root / "worker.json"

    @property
    def orders(self) -> str:
        return self.at("orders.json")

    def run(self, restart: int) -> str:
        return self.at(f"run-{restart}.jsonl")

    @property
    def stdout(self) -> Path:
        return self.root / "stdout"

    @property
    def stderr(self) -> Path:
        return self.root / "stderr"


class TrialPaths(_Directory):
    """Paths of one trial directory."""

    __slots__ = ()

    @property
    def control(self) -> str:
        return self.at("control.json")

    def run(self, attempt: int, restart: int) -> str:
        return self.at(f"run-{attempt}.{restart}.jsonl")

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
    """The directory name of the checkpoint of ``run`` at ``iteration``. No two runs share a name."""
    suffix = "" if (run.attempt, run.restart) == (1, 0) else f"-{run.attempt}.{run.restart}"
    return f"{CHECKPOINT_PREFIX}{iteration:06d}{suffix}"
