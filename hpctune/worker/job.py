"""The job that runs this process, as its environment tells."""

from __future__ import annotations

import os
from collections.abc import Mapping

CONTAINER_VARIABLE = "HPCTUNE_CONTAINER"
"""The command, as shell text, that has put this process into a container; what ``srun`` starts needs it again."""


def job_id_here() -> str:
    """The id of the job that runs this process, in the cluster's notation."""
    return os.environ.get("HPCTUNE_JOB_ID") or slurm_job() or f"pid-{os.getpid()}"


def slurm_job() -> str | None:
    """The id of the enclosing Slurm job in squeue's notation: an array element is ``12_3``."""
    array, element = (os.environ.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID"))
    return f"{array}_{element}" if array and element else os.environ.get("SLURM_JOB_ID")


def in_slurm_tasks() -> bool:
    """Whether a trial that asked for several tasks has those of the enclosing Slurm job: it is the trial's, or that of
    a worker that stays, which such a trial shares with no other. In-process trials (cluster 'debug') have none."""
    return slurm_job() is not None and not os.environ.get("HPCTUNE_JOB_ID", "").startswith("debug-")


def job_parts(environ: Mapping[str, str] | None = None) -> int:
    """How many parts the Slurm job of ``environ`` has: 1, or more if it is a heterogeneous one."""
    return max(1, int((os.environ if environ is None else environ).get("SLURM_HET_SIZE") or 1))


def of_parts(name: str) -> list[str]:
    """A variable of the enclosing Slurm job (such as ``SLURM_NTASKS``), for each of its parts."""
    parts = job_parts()
    names = [name] if parts == 1 else [f"{name}_HET_GROUP_{number}" for number in range(parts)]
    return [os.environ.get(each, "") for each in names]


def job_began() -> float | None:
    """Start of the enclosing job's script (Unix seconds); None if unknown, as in a trial of a worker."""
    job_id, _, at = os.environ.get("HPCTUNE_JOB_BEGAN", "").partition(" ")
    number = at.replace(",", ".")  # bash writes the decimal separator of the locale
    return float(number) if job_id == job_id_here() and number.replace(".", "", 1).isdigit() else None


def restart_count() -> int:
    """How many times Slurm has restarted the trial's job; 0 if the enclosing job is not the trial's own."""
    if job_id_here() != slurm_job():
        return 0
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)
