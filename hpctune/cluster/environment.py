"""The environment that the driver gives to Slurm's commands, and through sbatch to the jobs. Pure.

A driver often runs inside a Slurm job. Then its environment describes *that* job: sbatch would use its memory and CPUs
as defaults (variables override ``#SBATCH`` lines), srun its CPU binding, MPI its ranks. None of these variables may
reach a trial's job. The variables that say how to reach the cluster must. A process of W&B that the driver has started
is on the driver's node only, so jobs start their own.
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
    "WANDB_SERVICE",
)
_KEPT = frozenset(
    {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_SOCKET", "SLURM_VERSION"}
)
_DEVICES = frozenset(
    {"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"}
)


def outside_any_job(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without the variables of a surrounding Slurm job, and without a profile's ``SBATCH_*``."""
    devices = _DEVICES if "SLURM_JOB_ID" in environ else frozenset[str]()
    return {
        name: value
        for name, value in environ.items()
        if name in _KEPT or not (name.startswith(_FOREIGN) or name in devices)
    }
