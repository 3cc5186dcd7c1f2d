"""The environment that Slurm's commands, and through sbatch the jobs, get from the driver. Pure.

A driver often runs inside a job itself. Then its environment speaks of *that* job: sbatch would take its memory and
CPUs for defaults (variables win over ``#SBATCH`` lines), srun its CPU binding, MPI its ranks. Nothing of it may reach
a trial's job, but the addresses of the cluster must.
"""

from __future__ import annotations

from collections.abc import Mapping

_FOREIGN = (
    "SLURM_",
    "SLURMD_",
    "SBATCH_",
    "SRUN_",
    "SALLOC_",
    "SQUEUE_",
    "SCANCEL_",
    "SINFO_",
    "PMI_",
    "PMIX_",
    "PMI2_",
)
_KEPT = frozenset(
    {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_SOCKET", "SLURM_VERSION"}
)
_DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"}
)


def outside_any_job(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what a surrounding Slurm job (or a profile's ``SBATCH_*``) put into it."""
    devices = _DEVICES if "SLURM_JOB_ID" in environ else frozenset[str]()
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.startswith(_FOREIGN) or name in devices)
    }


def site_defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """What the user's profile gives sbatch as defaults: they hold where no option was given.

    Only ``SBATCH_*`` counts: Slurm itself never sets those in a job.
    """
    names = ("partition", "account", "qos", "reservation", "constraint")
    return {n: v for n in names if (v := environ.get(f"SBATCH_{n.upper()}"))}
