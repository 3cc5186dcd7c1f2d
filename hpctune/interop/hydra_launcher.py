"""Hydra's launchers as options of our jobs: what ``hydra.launcher`` says of partition, time, GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.errors import UsageError

SAME = (
    "partition", "qos", "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task", "mem_per_gpu",
    "mem_per_cpu", "account", "cpus_per_task", "gpus_per_node", "setup", "signal_delay_s", "additional_parameters",
)  # fmt: skip
"""Fields of submitit's launchers with the name that they have in SlurmOptions."""
OURS = ("submitit_folder", "name", "stderr_to_stdout", "max_num_timeout", "array_parallelism", "_target_")
"""Fields whose work is done otherwise: where jobs write, their names, what happens at a time limit."""


def options_of(launcher: Mapping[str, Any]) -> tuple[str | None, dict[str, Any], int | None]:
    """The cluster's name, the options of its jobs, and how many trials may run at a time; None: not said."""
    target = str(launcher.get("_target_", ""))
    given = {name: value for name, value in launcher.items() if value is not None}
    if "submitit" not in target:
        jobs = given.get("n_jobs")
        local = target.endswith("JoblibLauncher")
        return ("local" if local else None), {}, jobs if isinstance(jobs, int) and jobs > 0 else None
    if target.endswith("LocalLauncher"):
        return "local", {}, None
    known = (*SAME, *OURS, "timeout_min", "mem_gb", "nodes", "tasks_per_node")
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise UsageError(f"hydra.launcher.{unknown} is not known here. Set it as hydra.sweeper.slurm.NAME.")
    slurm = {name: given[name] for name in SAME if given.get(name) not in (None, {}, [])}
    if "timeout_min" in given:
        slurm["time"] = given["timeout_min"]
    if "mem_gb" in given:
        slurm["mem"] = f"{given['mem_gb']}G"
    for name, ours in (("nodes", "nodes"), ("tasks_per_node", "ntasks_per_node")):
        if given.get(name, 1) != 1:
            slurm[ours] = given[name]
    return "slurm", slurm, given.get("array_parallelism")
