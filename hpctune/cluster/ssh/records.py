"""The record of one job on a workstation: by it a later driver knows the job, also if it cannot reach the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hpctune.cluster.local.allocation import Allocation
from hpctune.cluster.ssh.options import Workstation
from hpctune.errors import TuneError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobState, JobStatus
from hpctune.storage import atomic

PREFIX = "ssh-"
"""How the names of the records begin; the job's id follows."""


@dataclass(slots=True)
class Job:
    """What is known of one job. ``outputs``: the files that get its output."""

    host: str
    status: JobStatus
    share: Allocation
    outputs: tuple[str, ...] = ()
    machine: Workstation | None = None
    """The machine, with its options."""
    cancelled: bool = False
    """Whether it is to be cancelled, also if its workstation cannot be reached now."""

    def write(self, path: Path) -> None:
        """Write the record. Raises StorageError."""
        data = {
            "machine": {"host": self.host} if self.machine is None else self.machine.to_json(),
            "tag": str(self.status.tag),
            "outputs": list(self.outputs),
            "share": self.share.to_json(),
        }
        atomic.write(path, json.dumps(data) + "\n")

    @classmethod
    def read(cls, path: Path) -> Job | None:
        """The job of the record at ``path``; None if it is none."""
        try:
            data = json.loads(path.read_text())
            tag, share = Tag.parse(data["tag"]), Allocation.from_json(data["share"])
            if tag is None:
                return None
            machine = Workstation(**data["machine"])
            status = JobStatus(path.stem.removeprefix(PREFIX), tag, JobState.RUNNING, "", machine.host)
            return cls(machine.host, status, share, tuple(data["outputs"]), machine)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, TuneError):
            return None
