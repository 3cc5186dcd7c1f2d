"""Starting the ranks of a trial: by ``srun`` over the tasks of its Slurm job, or as child processes in its only one."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpctune.errors import TrainableError
from hpctune.worker.job import CONTAINER_VARIABLE, in_slurm_tasks, job_parts
from hpctune.worker.ranks.link import RANK_VARIABLE

PROBE_S = 20.0
"""Seconds in which a node must answer ``srun``."""
TERMINATE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""
_OF_THE_OUTER_STEP = ("SLURM_CPU_BIND", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_DISTRIBUTION", "SLURM_TASKS_PER_NODE")
"""Beginnings of variables that would steer our ``srun``, and describe the head's own step or the job's tasks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many ranks there are, and what they run. A bundle is a task of the job. ``cpus``: those of one rank."""

    bundles: int
    per_bundle: int
    cpus: float
    command: Sequence[str]

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return self.bundles * self.per_bundle


def needs_srun(plan: Plan) -> bool:
    """Whether the ranks are in several tasks of a Slurm job. Raises TrainableError if they cannot be started there."""
    several = plan.bundles > 1 and in_slurm_tasks()
    if several and shutil.which("srun") is None:
        raise TrainableError(
            f"A trial of {plan.ranks} processes starts them with srun, which is not on PATH here. In a container, "
            "bind Slurm's commands, its configuration and munge's socket into it."
        )
    return several


class Started:
    """The processes that the head has started: all ranks, or the one ``srun`` that holds them."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], by_srun: bool) -> None:
        self._processes, self.by_srun = processes, by_srun

    def ended_early(self, connected: frozenset[int]) -> tuple[int | None, int] | None:
        """A process that has ended although its rank has not connected: the rank (None: unknown), and its code."""
        for rank, process in enumerate(self._processes):
            code = process.poll()
            if code is not None and (self.by_srun or rank not in connected):
                return None if self.by_srun else rank, code
        return None

    def code_of(self, rank: int, within_s: float) -> int | None:
        """The exit code of the rank's process; None if it is not known."""
        if self.by_srun:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._processes[rank].wait(within_s)
        return None

    def end(self, within_s: float) -> None:
        """Wait for the end of all; then end them."""
        deadline = time.monotonic() + within_s
        self._wait(deadline)
        for process in self._left():
            process.terminate()  # srun kills its tasks
        self._wait(time.monotonic() + TERMINATE_S)
        for process in self._left():
            process.kill()
            process.wait()

    def _left(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process.poll() is None]

    def _wait(self, deadline: float) -> None:
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))


def start(plan: Plan, by_srun: bool, additions: Mapping[str, str]) -> Started:
    """Start all ranks. Raises TrainableError if that fails."""
    environment = {**os.environ, **additions}
    processes: list[subprocess.Popen[bytes]] = []
    try:
        if by_srun:
            processes.append(_popen(srun(plan, environment), srun_environment(plan, environment)))
        else:
            environment = _with_threads(plan, environment)
            for rank in range(plan.ranks):
                processes.append(_popen(plan.command, {**environment, RANK_VARIABLE: str(rank)}))
    except OSError as error:
        Started(processes, by_srun).end(0.0)
        raise TrainableError(f"The processes of the trial cannot be started: {error}.") from error
    return Started(processes, by_srun)


def _popen(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def rank_command(experiment_dir: str, dirname: str, attempt: int) -> list[str]:
    """The command of each rank. The working directory does not become part of the import path."""
    return [sys.executable, "-u", "-P", "-m", "hpctune.worker.ranks", experiment_dir, dirname, str(attempt)]


def srun(plan: Plan, environ: Mapping[str, str]) -> list[str]:
    """The command that starts all ranks in the job that ``environ`` describes.

    A rank exits with a code other than 0 only if it could not tell the head why. Then ``srun`` ends the others.
    """
    container = environ.get(CONTAINER_VARIABLE)
    inner = ["sh", "-c", f'exec {container} "$@"', "sh", *plan.command] if container else plan.command
    parts = job_parts(environ)
    if parts == 1:
        return ["srun", *_flags(plan, environ, plan.ranks, ""), *inner]
    words = ["srun"]
    for number in range(parts):  # of a heterogeneous job: ranks are counted through all parts
        ranks = plan.per_bundle * int(environ[f"SLURM_NTASKS_HET_GROUP_{number}"])
        flags = _flags(plan, environ, ranks, f"_HET_GROUP_{number}")
        words += [*([":"] if number else []), f"--het-group={number}", *flags, *inner]
    return words


def _flags(plan: Plan, environ: Mapping[str, str], ranks: int, suffix: str) -> list[str]:
    """The options for ``ranks`` ranks in the job, or in the part whose variables have this ``suffix``."""
    nodes = environ.get(f"SLURM_JOB_NUM_NODES{suffix}", "1")
    cpus = environ.get(f"SLURM_CPUS_PER_TASK{suffix}", "")
    of_task = int(cpus) // plan.per_bundle if cpus.isdigit() else math.ceil(plan.cpus)
    flags = [
        "--overlap", "--unbuffered", "--export=ALL", "--input=none", "--wait=0", "--kill-on-bad-exit=1",
        "--distribution=block", f"--nodes={nodes}", f"--ntasks={ranks}", f"--cpus-per-task={max(1, of_task)}",
    ]  # fmt: skip
    if plan.per_bundle > 1:
        flags.append(f"--ntasks-per-node={-(-ranks // int(nodes))}")
    return flags


def srun_environment(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command."""
    kept = {name: value for name, value in environ.items() if not name.startswith(_OF_THE_OUTER_STEP)}
    if plan.per_bundle > 1:  # several ranks share the GPUs of a task
        kept = {name: value for name, value in kept.items() if not name.startswith("SLURM_GPUS_PER_TASK")}
    return kept


def _with_threads(plan: Plan, environ: Mapping[str, str]) -> dict[str, str]:
    """The number of threads that the job's start has set for all CPUs of the trial, for those of one rank."""
    threads = str(max(1, math.floor(plan.cpus * plan.ranks)))
    own = {"OMP_NUM_THREADS": str(max(1, math.floor(plan.cpus)))} if environ.get("OMP_NUM_THREADS") == threads else {}
    return {**environ, **own}


def node_answers(node: str) -> bool:
    """Whether a task can be started on the node of this job."""
    parts = job_parts()
    groups = [[f"--het-group={number}"] for number in range(parts)] if parts > 1 else [[]]
    return any(_answers(node, group) for group in groups)


def _answers(node: str, group: Sequence[str]) -> bool:
    flags = ["--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={node}", "--input=none", *group]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_OUTER_STEP)}
    command = ["srun", *flags, "true"]
    try:
        return subprocess.run(command, env=kept, capture_output=True, timeout=PROBE_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
