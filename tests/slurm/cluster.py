"""What tests do with a real Slurm cluster: a handle on one, and scripts/slurm-cluster as a function."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "slurm-cluster"
_SLURM_IS_MISSING = 3


def slurm_cluster_command(*arguments: str | Path, within: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run scripts/slurm-cluster; skip where Slurm is not installed, except in CI, where that is a failure.

    ``within``: words of a command that runs it, such as one that hides directories from the daemons.
    """
    command = [*within, sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode == _SLURM_IS_MISSING:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have Slurm. {done.stderr.strip()}")
        pytest.skip(done.stderr.strip())
    return done


def wait_for(predicate: Callable[[], object], timeout_s: float = 30.0, what: str = "") -> None:
    """Until the predicate is true; the polling is what makes tests quick *and* patient."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what or 'a condition'}")
        time.sleep(0.05)


@dataclass(frozen=True)
class Job:
    """One line of squeue. `id` is as squeue shows it: 17, or 17_3 for an array's task."""

    id: str
    state: str
    partition: str
    name: str
    node_list: str
    reason: str


@dataclass(frozen=True)
class SlurmCluster:
    """A handle on one running cluster. SLURM_CONF points at it as long as the tests run."""

    dir: Path
    conf: Path
    nodes: tuple[str, ...]

    def sbatch(self, *arguments: str | Path) -> str:
        """Submit and return the job's id; raises CalledProcessError when Slurm refuses."""
        return self.run("sbatch", "--parsable", *arguments).strip().partition(";")[0]

    def squeue(self, *arguments: str, ended: bool = False) -> list[Job]:
        """The jobs that wait or run; with `ended`, also those that the controller still remembers."""
        states = ("-t", "all") if ended else ()
        text = self.run("squeue", "-h", "-r", *states, "-o", "%i|%T|%P|%j|%N|%r", *arguments)
        return [Job(*line.split("|", 5)) for line in text.splitlines()]

    def state(self, job_id: str) -> str:
        """A job's state, also after its end."""
        return next((job.state for job in self.squeue("-j", job_id, ended=True)), "")

    def run(self, *command: str | Path) -> str:
        """The output of a Slurm command."""
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        return done.stdout

    def cancel_all(self) -> None:
        """Without mercy, and until nothing is left."""
        self.run("scancel", "--me", "--signal=KILL", "--full")
        self.run("scancel", "--me")
        wait_for(lambda: not self.squeue(), what="cancelled jobs to go")

    def kill_slurmd(self, node: str) -> None:
        """As if the node were lost: its jobs' processes live on, which is what really happens, too."""
        self._command("stop", "--kill", node)

    def start_slurmd(self, node: str) -> None:
        self._command("start", node)

    def stop_slurmctld(self) -> None:
        self._command("stop", "slurmctld")

    def start_slurmctld(self) -> None:
        self._command("start", "slurmctld")

    def drain(self, partition: str) -> None:
        """The partition takes no new jobs; those inside run on. The test's end sets it up again."""
        self.run("scontrol", "update", f"PartitionName={partition}", "State=DRAIN")

    def wait_for(self, predicate: Callable[[], object], timeout: float = 30.0, what: str = "") -> None:
        wait_for(predicate, timeout, what)

    def repair(self, options: Sequence[str]) -> None:
        """Undo what a test may have done: daemons that it stopped, partitions that it drained."""
        self._command("up", *options)
        for line in self.run("sinfo", "-h", "-o", "%R %a").splitlines():
            partition, state = line.split()
            if state != "up":
                self.run("scontrol", "update", f"PartitionName={partition}", "State=UP")

    def log_tail(self, lines: int = 40) -> str:
        try:
            text = (self.dir / "log" / "slurmctld.log").read_text(errors="replace")
        except FileNotFoundError:
            return "(the cluster is down already)"
        return "\n".join(text.splitlines()[-lines:])

    def _command(self, *arguments: str) -> None:
        done = slurm_cluster_command(*arguments, "--dir", self.dir)
        assert done.returncode == 0, done.stderr
