"""The driver as a Slurm job: its batch script, and the chain of such jobs in the queue.

Each job of the chain runs once (``--no-requeue``). It starts when the one before has ended for any reason
(``--dependency=afterany``): time limit, lost node, preemption, kill or cancel. The lease alone decides which job
drives; the chain only ensures that there is a job to take it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm import profile, squeue
from hpctune.cluster.slurm.call_budget import CallBudget
from hpctune.cluster.slurm.commands import SlurmCommands
from hpctune.cluster.slurm.sbatch import is_job_id, job_id_in
from hpctune.cluster.slurm.sbatch_errors import refusal
from hpctune.cluster.slurm.units import memory_bytes, minutes
from hpctune.errors import ClusterUnavailableError, RequestRejectedError, UsageError
from hpctune.model.jobs import JobState
from hpctune.ports import Clock
from hpctune.storage.layout import ExperimentPaths

TAG_PREFIX = "hpctune-driver"
CALLS_PER_MINUTE = 10
"""Slurm commands a minute for the chain itself, in addition to those of the driver."""
MAX_AHEAD = 50
_WARN_S = 120
_OWNED = ("output", "error", "signal", "dependency", "array", "requeue", "no-requeue", "job-name", "comment", "wrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverJobOptions:
    """Options of the driver jobs. An option that is None is not passed on: the site's default holds.

    ``time``: the limit of one driver job, in the forms of SlurmOptions. ``mem``: its memory (default 2G). ``ahead``:
    successors that wait in the queue at any time (default 1). ``additional_parameters``: any other option of sbatch.
    Raises UsageError for impossible values.
    """

    time: str | int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    mem: str | None = "2G"
    ahead: int = 1
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.time is not None:
            minutes(self.time)
        if self.mem is not None:
            memory_bytes(self.mem, "driver-mem")
        if not 1 <= self.ahead <= MAX_AHEAD:
            raise UsageError(f"The number of driver jobs ahead must be from 1 to {MAX_AHEAD}, not {self.ahead!r}.")
        for name, value in self.additional_parameters.items():
            if name in _OWNED or name in {f.name for f in fields(self)}:
                raise UsageError(
                    f"{name!r} is not allowed in additional_parameters of the driver's job: another option, or "
                    "hpctune itself, sets it."
                )
            if "\n" in f"{name}{value}":
                raise UsageError(f"Options of the driver's job must be one line, not {value!r}.")

    @property
    def warn_s(self) -> int:
        """Seconds before the time limit at which Slurm signals the driver to hand over."""
        limit = None if self.time is None else minutes(self.time)
        return _WARN_S if limit is None else min(_WARN_S, max(30, limit * 60 // 4))

    def to_json(self) -> dict[str, Any]:
        """The options as JSON; ``DriverJobOptions(**data)`` reads them again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class QueuedDriver:
    """A driver job in Slurm's queue. ``ends_at``: end of its time limit in Unix seconds, if it runs."""

    job_id: str
    waiting: bool
    reason: str
    ends_at: float | None


def script(
    paths: ExperimentPaths, name: str, experiment_id: str, options: DriverJobOptions, slurm: SlurmOptions,
    environ: Mapping[str, str],
) -> str:  # fmt: skip
    """The batch script of every driver job of the experiment.

    ``slurm``: the options of the trials; their account and cluster are used for the driver, too. The sbatch defaults
    of the user's profile (in ``environ``) hold for this job, and for the trials that it submits.
    """
    defaults = profile.driver_defaults(environ)
    asked: dict[str, Any] = {
        "job-name": f"hpctune-driver-{name}"[:128],
        "comment": f"{TAG_PREFIX}:{experiment_id}",
        "output": os.devnull,
        "ntasks": 1,
        "cpus-per-task": 1,
        "mem": options.mem,
        "time": None if options.time is None else minutes(options.time) or "UNLIMITED",
        "partition": options.partition or defaults.get("partition"),
        "account": options.account or slurm.account or defaults.get("account"),
        "qos": options.qos or defaults.get("qos"),
        "reservation": defaults.get("reservation"),
        "clusters": slurm.clusters,
        "signal": f"B:USR1@{options.warn_s}",
        "no-requeue": True,
        **options.additional_parameters,
    }
    lines = ["#!/bin/bash", *(_directive(k, v) for k, v in asked.items() if v is not None and v is not False)]
    lines += [f"export {key}={shlex.quote(value)}" for key, value in sorted(profile.in_use(environ).items())]
    lines.append("trap '' USR1  # until Python has a handler for it: a short limit makes Slurm send it at the start")
    lines.append(f'exec >>{shlex.quote(str(paths.drivers))}/"$SLURM_JOB_ID".out 2>&1')
    command = (sys.executable, "-u", "-m", "hpctune.cli.drivejob", str(paths.root))
    return "\n".join([*lines, f"exec {' '.join(shlex.quote(word) for word in command)}", ""])


def _directive(key: str, value: Any) -> str:
    if value is True:
        return f"#SBATCH --{key}"
    text = "".join(c if c.isprintable() else " " for c in str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'#SBATCH --{key}="{text}"' if any(not (c.isalnum() or c in "-_:@.,/=+%") for c in text) else (
        f"#SBATCH --{key}={text}"
    )  # fmt: skip


class DriverQueue:
    """The driver jobs of one experiment in Slurm's queue. They are found by their comment."""

    def __init__(self, paths: ExperimentPaths, experiment_id: str, slurm: SlurmOptions, clock: Clock) -> None:
        self._paths, self._tag = paths, f"{TAG_PREFIX}:{experiment_id}"
        budget = CallBudget(CALLS_PER_MINUTE, clock.now)
        self._commands = SlurmCommands(budget, slurm.timeout_s, slurm.clusters)

    def submit(self, after: str | None) -> str:
        """Submit the stored script once more, to start when the job ``after`` has ended. Returns the new job's id.

        Raises RequestRejectedError if Slurm refuses permanently. Raises ClusterUnavailableError if Slurm refuses for
        now or does not answer; then the job may exist, and :meth:`jobs` shows it.
        """
        chained = [f"--dependency=afterany:{after}"] if after is not None else []
        answer = self._commands.run("submit", "sbatch", ["--parsable", *chained, str(self._paths.driver_script)])
        job_id = job_id_in(answer.out)
        if job_id is not None:
            return job_id
        told = refusal(answer)
        if told.meaning == "permanent":
            raise RequestRejectedError(f"Slurm refused the driver's job. {told.reason}")
        raise ClusterUnavailableError(f"The driver's job was refused for now, or sbatch did not answer. {told.reason}")

    def test(self) -> None:
        """Test whether jobs can be submitted from here, without creating one. Raises RequestRejectedError if not."""
        if shutil.which("sbatch") is None:
            raise RequestRejectedError("sbatch is not on PATH.")
        answer = self._commands.run("query", "sbatch", ["--test-only", str(self._paths.driver_script)])
        told = refusal(answer)
        if answer.rc != 0 and told.meaning == "permanent":
            raise RequestRejectedError(told.reason)

    def jobs(self) -> list[QueuedDriver]:
        """Those that wait or run, the oldest first. Raises ClusterUnavailableError when Slurm does not answer."""
        text = self._commands.ask("squeue", squeue.arguments(os.geteuid(), ended=False))
        try:
            found = [job for job in squeue.records(text) if job.label == self._tag and is_job_id(job.job_id)]
        except ValueError as error:
            raise ClusterUnavailableError(str(error)) from error
        # COMPLETING may last long if a node is lost.
        live = [job for job in found if not job.state.final and job.state is not JobState.COMPLETING]
        queued = (QueuedDriver(j.job_id, j.state is JobState.PENDING, j.reason, j.ends_at) for j in live)
        return sorted(queued, key=lambda job: int(job.job_id))

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs. Raises ClusterUnavailableError if Slurm does not answer."""
        if job_ids:
            answer = self._commands.run("cancel", "scancel", list(job_ids))
            if answer.rc is None:
                raise ClusterUnavailableError("scancel did not answer in time")
