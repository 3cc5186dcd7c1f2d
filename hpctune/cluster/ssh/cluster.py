"""Jobs as processes of several workstations: the ``Cluster`` port without a batch system and a common directory.

On each workstation an agent does what :class:`LocalCluster` does on this machine. Here each job has a record in
``jobs/``, by which a later driver knows the jobs of a workstation that it cannot reach.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpctune.cluster.local.allocation import Allocation
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.cluster.ssh.records import PREFIX, Job
from hpctune.cluster.ssh.station import Station
from hpctune.common.log import log
from hpctune.common.text import count
from hpctune.errors import ClusterUnavailableError, RequestRejectedError, TuneError, UsageError
from hpctune.file_transfer import ends
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock
from hpctune.storage import permissions
from hpctune.storage.layout import ExperimentPaths

_ANSWER_S = 30.0
"""Seconds that an agent may take for an answer."""
_LOOK_S = 5.0
"""Seconds for which a look at the jobs waits for a machine: the others must not wait long for one that hangs."""
_CONNECT_S = 90.0
"""Seconds that the first connections may take."""
_DOUBT_S = 60.0
"""Seconds for which it is waited to hear whether a workstation has started a job before it was lost."""
_PAGE = "docs/how-to/workstations.md says what a machine needs."


class SshCluster:
    """The jobs of one experiment on the machines of ``options``."""

    name = "ssh"

    def __init__(self, experiment_dir: Path, experiment_id: str, options: SshOptions, clock: Clock) -> None:
        self.options = options
        self.poll_s, self.quiet_poll_s = options.poll_s, options.quiet_poll_s
        self._root = experiment_dir.absolute()
        self._experiment_id, self._folder = experiment_id, ExperimentPaths(self._root).jobs
        self._stations = self._disconnected()
        self._former: dict[str, tuple[Station, set[str]]] = {}
        """Machines that are not in ``options`` any more, each with the jobs that are to be cancelled there."""
        self._started = False
        self._jobs: dict[str, Job] | None = None
        self._doubts: dict[str, float] = {}
        """Workstations that may have started a job of which nothing is known, each with the time of the question."""

    # -- the machines ---------------------------------------------------------------------------------------------

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError if none of the machines has these resources, UsageError if none can be used."""
        reasons = []
        for station in self._usable():
            assert station.slots is not None
            try:
                station.slots.check(resources, station.name, "Workstation")
            except RequestRejectedError as error:
                reasons.append(str(error))
            else:
                return
        raise RequestRejectedError("\n".join(reasons))

    def _disconnected(self) -> dict[str, Station]:
        return {one.host: self._station(one) for one in self.options.workstations}

    def _station(self, machine: Workstation) -> Station:
        return Station(machine, self.options, self._experiment_id, self._root, self._outputs)

    def _usable(self) -> list[Station]:
        """The machines that were reached at least once. Raises UsageError if there is none."""
        self._connect()
        found = [station for station in self._stations.values() if station.slots is not None]
        if not found:
            lines = "\n".join(f"  {one.name}: {one.trouble or 'no answer'}" for one in self._stations.values())
            raise UsageError(f"No workstation can be used:\n{lines}\n{_PAGE}")
        return found

    def _connect(self) -> None:
        """Connect to all machines, and wait for the first answer of each."""
        if self._started:
            return
        self._started = True
        for station in self._stations.values():
            station.start()
        until = time.monotonic() + _CONNECT_S
        for station in self._stations.values():
            station.wait(max(0.0, until - time.monotonic()))
        usable = any(station.slots is not None for station in self._stations.values())
        for station in self._stations.values():
            if usable and station.slots is None:
                log.warning(
                    f"{station.name} is not used, until it can be reached: {station.trouble or 'it gives no answer'}."
                )

    def room(self, resources: Resources) -> int:
        """How many more jobs of this kind fit beside those that run."""
        free = 0
        for station in self._stations.values():
            if station.up and station.slots is not None:
                free += station.slots.room(resources, self._taken(station.name))
        return free

    def _taken(self, host: str) -> list[Allocation]:
        return [job.share for job in self._known().values() if job.host == host and not job.status.state.final]

    def facts(self) -> dict[str, Mapping[str, Any] | str]:
        """What each machine is, or why it cannot be used."""
        self._connect()
        stations = self._stations.values()
        return {one.name: one.facts if one.up else one.trouble or "it gives no answer" for one in stations}

    def summary(self) -> str:
        """The machines, and which of them cannot be reached; for people."""
        down = [f"{one.name} cannot be reached" for one in self._stations.values() if not one.up]
        up = len(self._stations) - len(down)
        return ", ".join([f"{up} of {count(len(self._stations), 'workstation')}", *down])

    # -- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Start each request on the machine with the most room, or refuse it if there is none."""
        self._connect()
        outcomes: list[SubmitOutcome | None] = [None] * len(requests)
        sent: dict[str, list[tuple[int, Allocation]]] = {}
        taken = {name: self._taken(name) for name in self._stations}
        for number, request in enumerate(requests):
            found = self._place(request, taken)
            if isinstance(found, Refused):
                outcomes[number] = found
                continue
            name, share = found
            taken[name].append(share)
            sent.setdefault(name, []).append((number, share))
        asked = {
            name: self._stations[name].ask("submit", requests=[_as_json(requests[number]) for number, _ in those])
            for name, those in sent.items()
        }
        for name, those in sent.items():
            answers = self._answers(name, asked[name], len(those))
            for (number, share), answer in zip(those, answers, strict=True):
                outcomes[number] = self._outcome(name, requests[number], share, answer)
        return [outcome for outcome in outcomes if outcome is not None]

    def _place(self, request: JobRequest, taken: Mapping[str, list[Allocation]]) -> tuple[str, Allocation] | Refused:
        """The machine for a job, and what it gets there."""
        try:
            self.check(request.resources)
        except RequestRejectedError as error:
            return Refused(str(error), permanent=True)
        best: tuple[int, str, Allocation] | None = None
        for name, station in self._stations.items():
            if not station.up or station.slots is None or name in request.avoid:
                continue
            share = station.slots.assign(request.resources, taken[name])
            room = station.slots.room(request.resources, taken[name]) if share is not None else 0
            if share is not None and (best is None or room > best[0]):
                best = (room, name, share)
        if best is None:
            return Refused("No CPUs or GPUs are free on the workstations now.", permanent=False)
        return best[1], best[2]

    def _answers(self, name: str, asked: Future[Any], wanted: int) -> list[Any]:
        try:
            answers: list[Any] = asked.result(_ANSWER_S)
        except TimeoutError:
            answers = [Unanswered(f"{name} has not answered for {_ANSWER_S:g} s")] * wanted
        except ClusterUnavailableError as error:
            answers = [Unanswered(str(error))] * wanted
        except TuneError as error:
            answers = [{"refused": f"{name}: {error}", "permanent": False}] * wanted
        return answers

    def _outcome(self, name: str, request: JobRequest, share: Allocation, answer: Any) -> SubmitOutcome:
        if isinstance(answer, Unanswered):
            self._doubts[name] = time.monotonic()
            return answer
        if "job" not in answer:
            return Refused(answer["refused"], answer["permanent"])
        status = JobStatus(answer["job"], request.tag, JobState.PENDING, "starting", name)
        job = Job(name, status, share, (str(request.stdout), str(request.stderr)), self._stations[name].machine)
        self._known()[status.job_id] = job
        permissions.make_directory(self._folder, exist_ok=True)
        job.write(self._record(status.job_id))
        return Accepted(status.job_id)

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment. Those of a machine that cannot be reached are as they were seen last, for
        ``lost_after_s``.

        Raises ClusterUnavailableError while it is not known whether a machine that was just lost has started a job.
        """
        self._connect()
        asked = {name: station.ask("jobs") for name, station in self._stations.items() if station.up}
        until = time.monotonic() + _LOOK_S
        for name, answer in asked.items():
            with contextlib.suppress(TuneError, TimeoutError):
                self._heard(name, answer.result(max(0.1, until - time.monotonic())))
        self._end_former_jobs()
        now = time.monotonic()
        self._doubts = {name: at for name, at in self._doubts.items() if now < at + _DOUBT_S}
        if self._doubts:
            raise ClusterUnavailableError(f"It is not known yet whether {', '.join(self._doubts)} started a job.")
        return [self._status(job, now) for job in self._known().values()]

    def _heard(self, name: str, found: list[dict[str, Any]]) -> None:
        """What an agent says of its jobs; it knows all of its machine."""
        self._doubts.pop(name, None)
        known = self._known()
        listed = {data["job"] for data in found}
        for job_id in [job_id for job_id, job in known.items() if job.host == name and job_id not in listed]:
            del known[job_id]
        late = []
        for data in found:
            tag, job = Tag.parse(data["tag"]), known.get(data["job"])
            if tag is None:
                continue
            status = _explained(JobStatus(data["job"], tag, JobState(data["state"]), data["reason"], name))
            share = Allocation() if data["share"] is None else Allocation.from_json(data["share"])
            if job is None:
                known[status.job_id] = Job(name, status, share)
                continue
            job.host = name
            if job.cancelled and not status.state.final:
                late.append(status.job_id)
            if job.status.state is not JobState.NODE_FAIL or status.state.final:
                job.status, job.share = status, share
        if late:
            self._stations[name].ask("cancel", jobs=late)

    def _end_former_jobs(self) -> None:
        """Cancel the jobs of machines that are not in ``options`` any more, as soon as these can be reached."""
        for job_id, job in self._known().items():
            if job.host in self._stations or job.machine is None:
                continue
            if job.host not in self._former:
                self._former[job.host] = self._station(job.machine), set()
                self._former[job.host][0].start()
            if not job.cancelled:
                self._former[job.host][1].add(job_id)
        for station, theirs in self._former.values():
            if theirs and station.up:
                with contextlib.suppress(TuneError, TimeoutError):
                    station.ask("cancel", jobs=sorted(theirs)).result(_LOOK_S)
                    theirs.clear()

    def _status(self, job: Job, now: float) -> JobStatus:
        """What is said of a job."""
        station = self._stations.get(job.host)
        if job.status.state.final or (station is not None and station.up):
            return job.status
        if station is None:
            why, lost = f"{job.host} is not in hosts any more", True
        else:
            why = f"{job.host} cannot be reached: {station.trouble}"
            lost = station.down_since is not None and now >= station.down_since + self.options.lost_after_s
        if lost:
            job.status, job.cancelled = replace(job.status, state=JobState.NODE_FAIL, reason=why), True
            return job.status
        return replace(job.status, reason=why)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Send SIGTERM to the processes of these jobs, and SIGKILL ``kill_wait_s`` later. On a machine that cannot be
        reached now that happens when it can."""
        mine: dict[str, list[str]] = {}
        for job_id in job_ids:
            job = self._known().get(job_id)
            if job is not None and not job.status.state.final:
                job.cancelled = True
                mine.setdefault(job.host, []).append(job_id)
        self._tell("cancel", mine)

    @property
    def kills_within_s(self) -> float:
        """Seconds after a cancel during which :meth:`jobs` must be called until the processes are surely gone."""
        return self.options.kill_wait_s + 10.0

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the records of those of these jobs that are over."""
        mine: dict[str, list[str]] = {}
        for job_id in job_ids:
            job = self._known().get(job_id)
            if job is not None and job.status.state.final:
                mine.setdefault(job.host, []).append(job_id)
                del self._known()[job_id]
                with contextlib.suppress(FileNotFoundError):
                    self._record(job_id).unlink()
        self._tell("tidy", mine)

    def _tell(self, call: str, jobs: Mapping[str, list[str]]) -> None:
        """Make a call for these jobs on those of their machines that can be reached, and wait until it is done."""
        asked = [
            station.ask(call, jobs=those)
            for name, those in jobs.items()
            if (station := self._stations.get(name)) is not None and station.up
        ]
        for answer in asked:
            with contextlib.suppress(TuneError, TimeoutError):
                answer.result(_ANSWER_S)

    def preview(self, request: JobRequest) -> str:
        """The machines, and the command that one of them would run."""
        words = shlex.join(["python", *request.command[1:]])
        names = ", ".join(self._stations)
        return f"# on one of {names}; its files travel over the connection\n{words}\n"

    def stats(self) -> CallStats:
        """No commands are called."""
        return CallStats()

    def close(self) -> None:
        """End the connections. The jobs go on. A call after this one connects again."""
        if self._started:
            for station in (*self._stations.values(), *(station for station, _ in self._former.values())):
                station.close()
            self._stations, self._former, self._started = self._disconnected(), {}, False

    # -- the records ----------------------------------------------------------------------------------------------

    def _known(self) -> dict[str, Job]:
        if self._jobs is None:
            found = (Job.read(path) for path in sorted(self._folder.glob(f"{PREFIX}*.json")))
            ours = [job for job in found if job is not None and job.status.tag.experiment_id == self._experiment_id]
            self._jobs = {job.status.job_id: job for job in ours}
        return self._jobs

    def _record(self, job_id: str) -> Path:
        return self._folder / f"{PREFIX}{job_id}.json"

    def _outputs(self) -> set[str]:
        """The files that get the output of jobs."""
        return {path for job in list(self._known().values()) for path in job.outputs}


def _as_json(request: JobRequest) -> dict[str, Any]:
    return {
        "tag": str(request.tag),
        "name": request.name,
        "command": list(request.command),
        "resources": request.resources.to_json(),
        "stdout": str(request.stdout),
        "stderr": str(request.stderr),
        "env": dict(request.env),
    }


def _explained(status: JobStatus) -> JobStatus:
    """A job that could not bring its files back says so by its exit code; that is no failure of the trial."""
    if status.state is JobState.FAILED and status.reason == f"exit code {ends.UNREACHABLE}":
        reason = f"{status.nodes} could not bring the trial's files back for too long"
        return replace(status, state=JobState.NODE_FAIL, reason=reason)
    return status
