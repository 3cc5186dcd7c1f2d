"""A cluster whose jobs are background processes of this machine, each with a folder in the experiment's directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from hpctune.errors import RequestRejectedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock

RUN = """leave() { echo "$2" > "$1.part"; mv "$1.part" "$1"; }
leave "$0/pid" $$; "$@" & wait $!; leave "$0/code" $?"""
"""Runs a command, and leaves its process and its exit code in the job's folder: a later driver finds them there. A file
is there only with its content."""


class ShellCluster:
    """``slots``: how many jobs may run at a time."""

    name = "shell"
    poll_s, quiet_poll_s = 0.05, 0.5

    def __init__(self, experiment_dir: Path, experiment_id: str, clock: Clock, slots: int = 4) -> None:
        self._folder, self._experiment_id, self._slots = experiment_dir / "jobs", experiment_id, slots

    def check(self, resources: Resources) -> None:
        """One job takes one slot; more CPUs than slots, and anything but CPUs, cannot be had."""
        if resources.cpus > self._slots or resources.gpus or any(bundle.custom for bundle in resources.bundles):
            raise RequestRejectedError(f"The cluster 'shell' has {self._slots} CPUs and nothing else.")

    def room(self, resources: Resources) -> int:
        return self._slots - sum(not job.state.final for job in self.jobs())

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        return [self._submit(request) for request in requests]

    def _submit(self, request: JobRequest) -> SubmitOutcome:
        try:
            self.check(request.resources)
        except RequestRejectedError as error:
            return Refused(str(error), permanent=True)
        job_id = uuid.uuid4().hex[:8]
        folder = self._folder / job_id
        folder.mkdir(parents=True)
        request.stdout.parent.mkdir(parents=True, exist_ok=True)
        (folder / "tag").write_text(str(request.tag))
        with request.stdout.open("ab") as out, request.stderr.open("ab") as err:
            process = subprocess.Popen(
                ["setsid", "--fork", "sh", "-c", RUN, folder, *request.command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **request.env},
            )  # fmt: skip
        process.wait()  # for setsid only: the job goes on in a session of its own
        return Accepted(job_id)

    def jobs(self) -> list[JobStatus]:
        found = []
        for folder in sorted(self._folder.iterdir()) if self._folder.is_dir() else []:
            tag = Tag.parse((folder / "tag").read_text())
            if tag is not None and tag.experiment_id == self._experiment_id:
                found.append(JobStatus(folder.name, tag, self._state(folder)))
        return found

    def _state(self, folder: Path) -> JobState:
        alive = self._signal(folder, 0)  # first: a job that ends after this has left its code by then
        if (folder / "cancelled").exists() and not alive:
            return JobState.CANCELLED
        if (folder / "code").exists():
            return JobState.COMPLETED if (folder / "code").read_text().strip() == "0" else JobState.FAILED
        if not (folder / "pid").exists():
            return JobState.PENDING
        return JobState.RUNNING if alive else JobState.LOST

    def _signal(self, folder: Path, number: int) -> bool:
        """Send a signal to all processes of the job; whether there were any. It is not lost if the job just starts."""
        try:
            os.killpg(int((folder / "pid").read_text()), number)
        except FileNotFoundError:
            return number == 0  # it is about to start
        except (ProcessLookupError, ValueError):
            return False
        return True

    def cancel(self, job_ids: Sequence[str]) -> None:
        for job in self.jobs():
            if job.job_id in job_ids and not job.state.final:
                folder = self._folder / job.job_id
                while not (folder / "pid").exists():  # the shell writes it within milliseconds
                    os.sched_yield()
                (folder / "cancelled").touch()
                self._signal(folder, signal.SIGKILL)

    def preview(self, request: JobRequest) -> str:
        return " ".join(request.command)

    def stats(self) -> CallStats:
        return CallStats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the folders of these jobs; ids that are none of ours are passed over."""
        ours = {job.job_id for job in self.jobs()}
        for job_id in ours.intersection(job_ids):
            shutil.rmtree(self._folder / job_id, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def close(self) -> None:
        return
