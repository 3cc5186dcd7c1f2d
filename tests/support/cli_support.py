"""Experiments made from events, for the tests of the command line. (Named test_cli_* to lie beside them.)"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from hpctune.driver.status_file import DriverStatus
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.ports import CallStats
from hpctune.storage import spec_file
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Holder

NOW = 1_700_000_000.0
BIN = Path(sys.executable).parent / "hpctune"


@dataclass
class Maker:
    """Writes an experiment's files as a driver would."""

    root: Path
    metric: str | None = "loss"

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.paths = ExperimentPaths(self.root)
        mode = "min" if self.metric else None
        self.spec = ExperimentSpec("abcde123", self.root.name, NOW, "train", self.metric, mode, num_samples=6)
        spec_file.write(self.paths, self.spec)
        self.journal = Journal(self.paths.journal)
        self.record(e.DriverStarted(1, "login1", 4711, "0.1.0"))

    def record(self, *events: e.Event, at: float = NOW) -> None:
        self.journal.append([[e.Recorded(at, event)] for event in events])

    def trial(self, index: int, **config: object) -> str:
        identity = f"abcde_{index:05d}"
        dirname = f"train_{identity}_{index}_lr"
        self.paths.trial(dirname).root.mkdir()
        name = f"train_{identity}"
        added = e.TrialAdded(identity, index, name, dirname, f"{index}_lr", config, config, Resources())
        self.record(added, e.SubmitRequested(identity, 1))
        return identity

    def dir(self, identity: str) -> Path:
        return next(self.root.glob(f"*{identity}*"))

    def queued(self, identity: str, job: str, reason: str) -> None:
        self.record(e.SubmitAcknowledged(identity, 1, job))
        self.record(e.JobChanged(identity, 1, job, JobState.PENDING, reason))

    def runs(self, identity: str, job: str, losses: list[float], checkpoint: bool = False) -> None:
        run = RunKey(identity, 1, 0)
        self.record(e.SubmitAcknowledged(identity, 1, job), e.RunStarted(run, job, "node7", 99))
        for number, loss in enumerate(losses, 1):
            saved = CheckpointRef(f"checkpoint_{number:06d}", number) if checkpoint else None
            if saved:
                (self.dir(identity) / saved.name).mkdir()
            row = {"training_iteration": number, "loss": loss, "eval": {"acc": 1 - loss}}
            self.record(e.ResultReported(run, number, row, checkpoint=saved))

    def ends(self, identity: str) -> None:
        self.record(e.RunEnded(RunKey(identity, 1, 0), Outcome.COMPLETED, "the trainable returned"))
        self.record(e.TrialEnded(identity, Phase.TERMINATED, "the trainable returned"), e.TrialFinalized(identity))

    def fails(self, identity: str, message: str) -> None:
        error = ErrorInfo("ValueError", message, f"Traceback (most recent call last):\nValueError: {message}\n")
        self.record(e.TrialEnded(identity, Phase.ERROR, str(error), error), e.TrialFinalized(identity))
        (self.dir(identity) / "error.txt").write_text(error.traceback)

    def holder(self, pid: int, host: str | None = None, released: bool = False, age_s: float = 0.0) -> None:
        holder = Holder(host or socket.gethostname(), pid, NOW, 1, 3, released)
        self.paths.lease.write_text(json.dumps(asdict(holder)))
        stamp = self.paths.lease.stat().st_mtime - age_s
        os.utime(self.paths.lease, (stamp, stamp))

    def glance(self, note: str = "") -> None:
        DriverStatus("slurm", NOW, note, CallStats(120, 4, 60, 2)).write(self.paths)


def demo(root: Path, metric: str | None = "loss") -> Maker:
    """Six trials: two done, one failed, one running, two queued."""
    maker = Maker(root, metric)
    ids = [maker.trial(i, lr=round(0.1 / (i + 1), 4), layers=i) for i in range(6)]
    done, best, failed, running, first, second = ids
    maker.runs(done, "100", [0.9, 0.5])
    maker.ends(done)
    maker.runs(best, "101", [0.8, 0.2, 0.3], checkpoint=True)
    maker.ends(best)
    maker.runs(failed, "102", [0.95])
    maker.fails(failed, "bad learning rate")
    maker.runs(running, "103", [0.7])
    maker.queued(first, "104", "Priority")
    maker.queued(second, "105", "QOSMaxJobsPerUserLimit")
    (maker.dir(best) / "stdout").write_text("".join(f"line {i}\n" for i in range(1, 31)))
    (maker.dir(best) / "stderr").write_text("a warning\n")
    maker.holder(os.getpid())
    maker.glance()
    return maker


def finish(maker: Maker) -> None:
    """End what is left of the demo."""
    for index in (3, 4, 5):
        identity = f"abcde_{index:05d}"
        maker.record(e.StopRequested(identity, "enough"), e.TrialEnded(identity, Phase.TERMINATED, "enough"))
        maker.record(e.TrialFinalized(identity))
    maker.record(e.SearchExhausted(), e.ExperimentEnded("all trials are done"), e.DriverStopped("finished"))
    maker.holder(1, "login1", released=True)


def checksum(root: Path) -> str:
    """Of every path, size, mode, content and time below ``root``."""
    digest = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")]):
        status = path.stat()
        digest.update(f"{path} {status.st_mode} {status.st_mtime_ns} {status.st_size}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def hpctune(*arguments: object, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    return subprocess.run(
        [str(BIN), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **env},
        check=False,
    )
