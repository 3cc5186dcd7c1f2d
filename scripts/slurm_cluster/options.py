"""What a user may choose about a cluster, and the errors that the tool reports."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")


class ClusterError(Exception):
    """Something went wrong, told in words for a person; `exit_code` is what the command ends with."""

    exit_code = 1


class SlurmMissing(ClusterError):
    """Slurm's programs are not installed. Its own exit code, so that callers can skip instead of fail."""

    exit_code = 3


@dataclass(frozen=True)
class Options:
    """The shape of one cluster. Times in seconds, as in slurm.conf."""

    nodes: int = 4
    cpus_per_node: int = 16
    gpus_per_node: int = 4
    memory_per_node_mb: int = 20000
    prefix: str = "n"
    accounting: bool = False
    enforce: str = ""
    max_submit: int = 0
    kill_wait: int = 5
    grace_time: int = 5
    slurmd_timeout: int = 10
    min_job_age: int = 300
    max_array_size: int = 1001
    requeue_delay: int = 120

    def __post_init__(self) -> None:
        for name in ("nodes", "cpus_per_node", "memory_per_node_mb", "max_array_size"):
            if getattr(self, name) < 1:
                raise ClusterError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}.")
        for name in ("gpus_per_node", "max_submit", "kill_wait", "grace_time"):
            if getattr(self, name) < 0:
                raise ClusterError(f"--{name.replace('_', '-')} must not be negative, not {getattr(self, name)}.")
        if self.requeue_delay < 5:
            raise ClusterError(f"--requeue-delay must be at least 5 (Slurm ignores less), not {self.requeue_delay}.")
        if not _PREFIX.match(self.prefix):
            raise ClusterError(f"--prefix {self.prefix!r} is no node name: a letter, then letters, digits or '-'.")
        if self.enforce and not self.accounting:
            raise ClusterError("--enforce needs --accounting: limits and associations live in the database.")
        if self.max_submit and "limits" not in self.enforce:
            raise ClusterError("--max-submit needs --accounting --enforce=limits: nothing else would enforce it.")

    @property
    def node_names(self) -> list[str]:
        return [f"{self.prefix}{i}" for i in range(1, self.nodes + 1)]

    @property
    def ports_needed(self) -> int:
        """One each for slurmctld and slurmdbd, one per slurmd."""
        return 2 + self.nodes
