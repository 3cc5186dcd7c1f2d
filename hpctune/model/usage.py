"""What a job holds and uses: CPUs, GPUs, nodes, billing units; and Slurm's account of a job."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.model.jobs import JobState


@dataclass(frozen=True, slots=True)
class Amounts:
    """Resources at one moment. ``billing``: Slurm's billing units; None: not known."""

    cpus: float = 0.0
    gpus: float = 0.0
    nodes: float = 0.0
    billing: float | None = None

    def times(self, factor: float) -> Amounts:
        """Each of them multiplied."""
        billing = None if self.billing is None else self.billing * factor
        return Amounts(self.cpus * factor, self.gpus * factor, self.nodes * factor, billing)


@dataclass(frozen=True, slots=True)
class JobAccount:
    """One start of a job in Slurm's accounting. A job that was requeued has one for each start.

    ``end`` None: it runs. ``elapsed_s``: seconds for which it held ``held``, without those for which it was suspended.
    ``used_cpu_s``: CPU seconds that its processes used; None: not known (yet). Times are Unix seconds.
    """

    job_id: str
    partition: str
    account: str
    user: str
    begin: float
    end: float | None
    elapsed_s: float
    state: JobState
    asked: Amounts
    held: Amounts
    used_cpu_s: float | None = None
