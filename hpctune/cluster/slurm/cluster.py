"""Jobs on a Slurm cluster: the ``Cluster`` port by sbatch, squeue, scancel and sinfo."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpctune.cluster.containers import Container
from hpctune.cluster.options import MEMORY, SlurmOptions
from hpctune.cluster.slurm import arrays, profile, sacct, sinfo, squeue, transfer
from hpctune.cluster.slurm.batching import Batches
from hpctune.cluster.slurm.call_budget import CallBudget
from hpctune.cluster.slurm.commands import Answer, SlurmCommands
from hpctune.cluster.slurm.placement import Placement, places
from hpctune.cluster.slurm.repeated import ENOUGH, Repetitions
from hpctune.cluster.slurm.sbatch import Submitter, is_job_id
from hpctune.cluster.slurm.sbatch_errors import Refusal, said
from hpctune.cluster.slurm.script import array_text, script_text
from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.errors import ClusterUnavailableError, NotYetSupportedError, RequestRejectedError
from hpctune.file_transfer.preflight import check_transfer
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock
from hpctune.storage.layout import ExperimentPaths

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 15.0, 900.0
_DIFFERENT = "Its bundles differ, so it is a heterogeneous job, which not every site allows."
_EQUAL_TASKS = "For equal tasks, each as large as the largest bundle: SlurmOptions(hetjob=False)."
_CANCELLED_AT_ONCE = 100
_NOTHING_TO_CANCEL = ("invalid job id", "already completing or completed", "already finished")
_IN_AN_ARRAY = """
# Trials that are submitted together go out as one job array: each is an element with its own output, variables and
# command, and has the id ARRAY_INDEX. SlurmOptions(array=False): each is a job of its own.
"""
_NO_SUCH_NODE = "requested node configuration is not available"


class SlurmCluster:
    """The jobs of one experiment on Slurm. They are found by their tag; no essential state is kept in this object."""

    name = "slurm"

    def __init__(self, experiment_dir: Path, experiment_id: str, options: SlurmOptions | None, clock: Clock) -> None:
        self.options = profile.with_profile(options or SlurmOptions(), os.environ)
        self.poll_s, self.quiet_poll_s = self.options.poll_s, self.options.quiet_poll_s
        self._experiment_id, self._clock = experiment_id, clock
        self._folder = ExperimentPaths(experiment_dir.absolute()).jobs
        self._budget = CallBudget(self.options.calls_per_minute, clock.now)
        self._commands = SlurmCommands(self._budget, self.options.timeout_s, self.options.clusters)
        self._submitter = Submitter(self._commands, self._folder, self._partition_names)
        self._lists = arrays.ArrayLists(self._folder, clock.now)
        self._batches = Batches(self._submit, arrays.LARGEST if self.options.array else 1)
        self._groups: list[sinfo.NodeGroup] | None = None
        self._possible: set[str] = set()
        self._repetitions = Repetitions()
        self._accounts = True
        """Whether the site has accounting (sacct), as far as is known."""
        self._site_config = ""
        self._active: set[str] = set()
        self._leaving: set[str] | None = None
        """Jobs that are over but for their nodes; None before Slurm has answered."""
        self._shown: dict[str, str] = {}
        """What scontrol says of failed jobs that transferred their files, by their ids."""
        self._backoff, self._not_before = Backoff(_FIRST_BACKOFF_S, _MAX_BACKOFF_S), float("-inf")

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError if no job of this kind could ever run here.

        Calls sinfo once (for all kinds) and ``sbatch --test-only`` with the real script once for each kind. The result
        is cached. If one of several partitions could not run it, asks scontrol whether the site then refuses a job.
        Raises ClusterUnavailableError if Slurm does not answer.
        """
        kind = repr(resources)
        if kind in self._possible:
            return
        if not self._possible and isinstance(self.options.container, Container):
            self.options.container.check()
        if not self._possible and (unused := profile.without_effect(os.environ)):
            log.warning(profile.about(unused))
        if not self._possible and self.options.transfer is not None:
            check_transfer(self.options.transfer, self._folder.parent.parent)
        try:
            placements = places(resources, self.options)
            transfer.check_one_node(placements, self.options)
        except NotYetSupportedError as error:
            raise RequestRejectedError(str(error)) from error
        fitting = [self._fits(placement) for placement in placements]
        for placement in placements:
            self._check_each(resources, placement)
        if len(placements) > 1:
            self._check_parts()
        self._test(resources, in_use=all(fitting))
        self._possible.add(kind)

    def _fits(self, placement: Placement) -> bool:
        return sinfo.check(self._nodes(), placement, self.options.partition, self.options.time_minutes)

    def _check_each(self, resources: Resources, placement: Placement) -> None:
        """Check the request against each of several partitions: ``sbatch --test-only`` tests only one of them."""
        differences = self._differences(placement)
        if not differences:
            return
        if re.search(r"^EnforcePartLimits\s*=\s*(ALL|YES)\b", self._config(), re.MULTILINE):
            raise RequestRejectedError(
                f"Slurm would never accept a trial that needs {resources.describe()}{self._asked()}: here a job must "
                f"fit each of its partitions (EnforcePartLimits=ALL), and {differences}. "
                f"Set --time (SlurmOptions(time=...)) so that it fits all of them, or name fewer partitions."
            )

    def _check_parts(self) -> None:
        """Heterogeneous jobs are started by the backfill scheduler only; with another one they wait for ever."""
        found = re.search(r"^SchedulerType\s*=\s*(\S+)", self._config(), re.MULTILINE)
        if found is not None and found[1] != "sched/backfill":
            raise RequestRejectedError(
                f"The bundles of the trial differ, so its job is a heterogeneous one, and the scheduler here "
                f"({found[1]}) never starts those. {_EQUAL_TASKS}"
            )

    def _config(self) -> str:
        """What scontrol says of the site's configuration, asked once; "" while it does not answer."""
        if not self._site_config:
            answer = self._commands.run("query", "scontrol", ["show", "config"])
            self._site_config = answer.out if answer.rc == 0 else ""
        return self._site_config

    def _differences(self, placement: Placement) -> str:
        limit = math.inf if self.options.unlimited else self.options.time_minutes
        return sinfo.differences(self._groups or [], placement, self.options.partition, limit)

    def _nodes(self) -> list[sinfo.NodeGroup]:
        if self._groups is None:
            self._groups = sinfo.parse(self._commands.ask("sinfo", sinfo.ARGUMENTS))
        return self._groups

    def _test(self, resources: Resources, in_use: bool) -> None:
        """Test the request with sbatch. If all fitting nodes are down, sbatch says that none exist: that is ignored."""
        null = Path(os.devnull)
        tag = Tag(self._experiment_id, "check", 0)
        request = JobRequest(tag, "hpctune-check", (sys.executable, "-V"), resources, null, null)
        answer = self._submitter.test(self._text([request]))
        if answer.rc == 0:
            return
        told = self._submitter.explain(answer)
        if told.meaning == "unanswered":
            raise ClusterUnavailableError(told.reason)
        unbelievable = _NO_SUCH_NODE in said(answer).lower() and not in_use
        if told.meaning == "permanent" and not unbelievable:
            parts = f" {_DIFFERENT} {_EQUAL_TASKS}" if len(places(resources, self.options)) > 1 else ""
            raise RequestRejectedError(
                f"Slurm would never run a trial that needs {resources.describe()}{self._asked()}. {told.reason}{parts}"
            )

    def _asked(self) -> str:
        """The given options that may be the reason for a refusal."""
        names = (
            *("partition", "account", "qos", "constraint", "time", *MEMORY, "gres", "gpus_per_node", "gpus_per_task"),
            *("nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "cpus_per_gpu", "nodelist"),
        )
        asked = [f"{name}={value}" for name in names if (value := getattr(self.options, name)) is not None]
        return f" with {', '.join(asked)}" if asked else ""

    def _partition_names(self) -> list[str]:
        try:
            return sinfo.names(self._nodes())
        except ClusterUnavailableError:
            return []

    def room(self, resources: Resources) -> int:
        """How many more jobs may be submitted now: by ``max_submitted``, by the budget of calls, and 0 for a while
        (15 s, doubling up to 15 min) after Slurm refused one for a limit or did not answer."""
        if self._clock.now() < self._not_before:
            return 0
        free = max(0, self.options.max_submitted - len(self._active))
        calls = self._budget.available("submit")
        return free if calls is None else min(free, calls * self._batches.at_once)

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Submit, those that ask for the same as one array. After a limit or a missing answer the rest is refused
        without asking."""
        outcomes, slurm_refused = self._batches.submit(requests)
        if any(isinstance(outcome, Accepted) for outcome in outcomes):
            self._backoff.reset()
            self._not_before = float("-inf")
        if slurm_refused:
            self._not_before = self._clock.now() + self._backoff.take()
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self._active.add(outcome.job_id)
            elif isinstance(outcome, Unanswered):
                self._active.add(str(request.tag))  # perhaps it is there; the next look tells
        return outcomes

    def _submit(self, requests: Sequence[JobRequest]) -> tuple[list[SubmitOutcome], Refusal | None]:
        """One call of sbatch for one job, or for an array."""
        key = arrays.new_key() if len(requests) > 1 else None
        try:
            text = self._text(requests, key)
        except NotYetSupportedError as error:
            return [Refused(str(error), permanent=True)] * len(requests), None
        outcome, told = self._submitter.submit(requests, text, key)
        kind = repr((requests[0].resources, requests[0].minutes))
        if isinstance(outcome, Accepted):
            self._repetitions.accepted(kind)
        elif told is not None and told.meaning == "unclear" and self._never(kind, told):
            told = replace(told, meaning="permanent", reason=self._given_up(requests[0], told))
            outcome = Refused(told.reason, permanent=True)
        if key is not None and isinstance(outcome, Unanswered):
            self._lists.in_doubt(key)
        if key is not None and isinstance(outcome, Accepted):
            return [Accepted(f"{outcome.job_id}_{index}") for index in range(len(requests))], told
        return [outcome] * len(requests), told

    def _never(self, kind: str, told: Refusal) -> bool:
        """Whether requests of a kind that is refused without a clear reason can never be accepted."""
        if not self._repetitions.refused(kind, told.words):
            return False
        self._groups = None  # whether the partitions are up is asked now
        try:
            up = sinfo.all_up(self._nodes(), self.options.partition)
        except ClusterUnavailableError:
            return False
        if not up:
            self._repetitions.forget(kind)
        return up

    def _given_up(self, request: JobRequest, told: Refusal) -> str:
        parts = places(request.resources, self.options)
        differences = next(filter(None, map(self._differences, parts)), "")
        return (
            f"Slurm refused a trial that needs {request.resources.describe()}{self._asked()} {ENOUGH} times with the "
            f"same message, although its partitions are up. {told.reason}"
            + (f" Of the partitions, {differences}." if differences else "")
        )

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment that Slurm shows, by one squeue (ended ones for MinJobAge, by default 300 s).

        Raises ClusterUnavailableError, with Slurm's message, if the call fails or the budget is spent.
        """
        answer = self._commands.ask("squeue", squeue.arguments(os.geteuid()))
        self._lists.look()
        try:
            found = squeue.parse(answer, self._experiment_id, self._lists.element)
        except ValueError as error:
            raise ClusterUnavailableError(str(error)) from error
        self._lists.seen()
        failed = {job.job_id for job in found if job.state is JobState.FAILED}
        self._shown = {job_id: text for job_id, text in self._shown.items() if job_id in failed}
        found = [self._explained(job) for job in found]
        self._active = {job.job_id for job in found if not job.state.final}
        self._leaving = {job.job_id for job in found if job.state is JobState.COMPLETING}
        return found

    def _explained(self, job: JobStatus) -> JobStatus:
        """A failed job that transferred its files, in words; Slurm is asked once about each."""
        if job.state is not JobState.FAILED or self.options.transfer is None:
            return job
        if job.job_id not in self._shown:
            try:
                self._shown[job.job_id] = self._commands.ask("scontrol", ["show", "job", "--oneliner", job.job_id])
            except ClusterUnavailableError:
                return job
        return transfer.explained(job, self.options.transfer, self._shown[job.job_id])

    def usage(self, job_id: str) -> str:
        """A short summary of what an ended job has used, by one sacct. "" if the site has no accounting."""
        if not self._accounts or not is_job_id(job_id):
            return ""
        try:
            answer = self._commands.ask("sacct", ["-j", job_id, *sacct.ARGUMENTS])
        except ClusterUnavailableError as error:
            self._accounts = "disabled" not in str(error)
            return ""
        return sacct.words(answer)

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs, 100 with one scancel. Raises ClusterUnavailableError if a job may not have been ended."""
        ids = [job_id for job_id in dict.fromkeys(job_ids) if is_job_id(job_id)]
        for start in range(0, len(ids), _CANCELLED_AT_ONCE):
            answer = self._commands.run("cancel", "scancel", ids[start : start + _CANCELLED_AT_ONCE])
            if answer.rc != 0 and (trouble := _trouble(answer)):
                raise ClusterUnavailableError(f"scancel failed: {trouble}")

    def preview(self, request: JobRequest) -> str:
        """The batch script that would be submitted. Raises NotYetSupportedError for inexpressible resources."""
        return self._text([request]) + (_IN_AN_ARRAY if self._batches.at_once > 1 else "")

    def _text(self, requests: Sequence[JobRequest], key: str | None = None) -> str:
        """The script of one job, or of the array named ``key``."""
        if (asked := requests[0].minutes) is not None:
            allowed = sinfo.longest_minutes(self._groups or [], self.options.partition) or asked
            requests = [replace(request, minutes=min(asked, allowed)) for request in requests]
        if key is None:
            return script_text(requests[0], self.options, self._folder)
        return array_text(requests, key, self.options, self._folder)

    def stats(self) -> CallStats:
        """Numbers of calls of Slurm's commands."""
        return self._budget.stats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the scripts of these jobs, and of jobs that Slurm no longer shows."""
        self._submitter.remove(job_ids)
        if self._leaving is not None:
            self._lists.settle(job_ids)
            needed = {arrays.base_id(job_id) for job_id in self._active - self._leaving}
            self._submitter.remove_others(needed | self._lists.needed())

    def close(self) -> None:
        """Do nothing: no resources are held. Jobs go on."""


def _trouble(answer: Answer) -> str:
    """The errors of scancel, without those about jobs that have ended already."""
    if answer.rc is None:
        return "it did not answer in time"
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    return "; ".join(li for li in lines if not any(gone in li.lower() for gone in _NOTHING_TO_CANCEL))
