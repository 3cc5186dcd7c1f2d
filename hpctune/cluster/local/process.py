"""Starts one local job: a process in a session of its own, which outlives its driver.

submitit's LocalExecutor and LocalJob hold and reap the process. submitit's controller is not used: it is a second
Python interpreter for each job (0.3 s of CPU), ends jobs after two minutes by default, receives the terminal's Ctrl-C,
and leaves nothing by which another driver could find the job. The wrapper script in ``records.py`` takes a millisecond.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpctune.cluster.command import interpreter_first, shell_command
from hpctune.cluster.environment import outside_any_job
from hpctune.cluster.local.allocation import visible
from hpctune.cluster.local.records import WRAPPER_SCRIPT, LocalRecord
from hpctune.cluster.options import LocalOptions
from hpctune.model.jobs import JobRequest
from hpctune.storage import permissions

if TYPE_CHECKING:
    from submitit.local.local import LocalJob


def command_line(request: JobRequest, options: LocalOptions) -> list[str]:
    """The program and its arguments. A shell is used only if ``setup`` or ``python`` is set."""
    if not options.setup and options.python is None:
        return interpreter_first(request.command, sys.executable)
    text = "\n".join([*options.setup, f"exec {shell_command(request.command, options.python)}"])
    return [shutil.which("bash") or "/bin/sh", "-c", text]


def environment(
    request: JobRequest, options: LocalOptions, record: LocalRecord, gpus: tuple[str, ...], environ: Mapping[str, str]
) -> dict[str, str]:
    """The job's environment: the driver's, without that of a surrounding Slurm job, and the job's own variables."""
    env = outside_any_job(environ)
    env.setdefault("OMP_NUM_THREADS", str(max(1, math.floor(record.share.cpus))))
    env |= {**options.env, **request.env, "HPCTUNE_JOB_ID": record.job_id}
    devices = visible(record.share, gpus)
    return env if devices is None else {**env, "CUDA_VISIBLE_DEVICES": devices}


def start(request: JobRequest, record: LocalRecord, options: LocalOptions, gpus: tuple[str, ...]) -> LocalJob[object]:
    """Start the job of ``record``. Raises OSError if that fails; then no process is left."""
    from submitit.local.local import LocalExecutor, LocalJob

    class _Job(LocalJob[object]):
        def __del__(self) -> None:
            """Do nothing: submitit's method looks for files that do not exist here, and warns at interpreter exit."""

    class _Executor(LocalExecutor):
        def _submit_command(self, command: str) -> LocalJob[object]:  # type: ignore[override]
            process = _popen(request, record, options, environment(request, options, record, gpus, os.environ))
            return _Job(folder=self.folder, job_id=record.job_id, process=process)

    return _Executor(record.path.parent)._submit_command("")


def _popen(
    request: JobRequest, record: LocalRecord, options: LocalOptions, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    with (
        os.fdopen(permissions.open_to_append(request.stdout, parents=True), "ab") as out,
        os.fdopen(permissions.open_to_append(request.stderr, parents=True), "ab") as err,
    ):
        return subprocess.Popen(
            ["/bin/sh", "-c", WRAPPER_SCRIPT, "hpctune-keeper", str(record.run_path), *command_line(request, options)],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
