"""Jobs on a Slurm cluster: the ``Cluster`` port by sbatch, squeue, scancel and sinfo."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hpctune.cluster import partitions, squeue
from hpctune.cluster.budget import CallBudget
from hpctune.cluster.commands import Answer, SlurmCommands
from hpctune.cluster.environment import site_defaults
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.placement import Placement, place
from hpctune.cluster.refusals import said
from hpctune.cluster.script import script_text
from hpctune.cluster.submission import Submitter, is_job_id
from hpctune.errors import ClusterUnavailableError, NotYetSupportedError, RequestRejectedError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobStatus, Refused, SubmitOutcome, Unanswered
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Clock
from hpctune.storage.layout import ExperimentPaths

_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 15.0, 900.0
_CANCELLED_AT_ONCE = 100
_NOTHING_TO_CANCEL = ("invalid job id", "already completing or completed", "already finished")
_NO_SUCH_NODE = "requested node configuration is not available"


class SlurmCluster:
    """The jobs of one experiment on Slurm. They are found by their tag; nothing that matters is remembered here."""

    name = "slurm"

    def __init__(self, experiment_dir: Path, experiment_id: str, options: SlurmOptions | None, clock: Clock) -> None:
        self.options = options or SlurmOptions()
        self.poll_s, self.quiet_poll_s = self.options.poll_s, self.options.quiet_poll_s
        self._experiment_id, self._clock = experiment_id, clock
        self._folder = ExperimentPaths(experiment_dir.absolute()).jobs
        self._budget = CallBudget(self.options.calls_per_minute, clock.now)
        self._commands = SlurmCommands(self._budget, self.options.timeout_s, self.options.clusters)
        self._submitter = Submitter(self._commands, self._folder, self._partition_names)
        self._groups: list[partitions.NodeGroup] | None = None
        self._possible: set[str] = set()
        self._active: set[str] = set()
        self._backoff_s, self._not_before = 0.0, float("-inf")

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError when no job of this kind could ever run here.

        Takes one sinfo (for all kinds) and one ``sbatch --test-only`` of the real script (a kind), then remembers.
        Raises ClusterUnavailableError when Slurm does not answer.
        """
        kind = repr(resources)
        if kind in self._possible:
            return
        try:
            placement = place(resources, self.options)
        except NotYetSupportedError as error:
            raise RequestRejectedError(str(error)) from error
        self._test(resources, self._fits(placement))
        self._possible.add(kind)

    def _fits(self, placement: Placement) -> bool:
        if self._groups is None:
            self._groups = partitions.parse(self._commands.ask("sinfo", partitions.ARGUMENTS))
        partition = self.options.partition or site_defaults(os.environ).get("partition")
        return partitions.check(self._groups, placement, partition, self.options.time_minutes)

    def _test(self, resources: Resources, in_use: bool) -> None:
        """Let Slurm itself judge. Where all nodes that fit are down, it says that there are none: not believed."""
        null = Path(os.devnull)
        tag = Tag(self._experiment_id, "check", 0)
        request = JobRequest(tag, "hpctune-check", (sys.executable, "-V"), resources, null, null)
        answer = self._submitter.test(request, self.preview(request))
        if answer.rc == 0:
            return
        told = self._submitter.explain(answer)
        if told.meaning == "unanswered":
            raise ClusterUnavailableError(told.reason)
        unbelievable = _NO_SUCH_NODE in said(answer).lower() and not in_use
        if told.meaning == "permanent" and not unbelievable:
            raise RequestRejectedError(
                f"Slurm would never run a trial that needs {resources.describe()}{self._asked()}. {told.reason}"
            )

    def _asked(self) -> str:
        """The options that may be why a request is refused, as asked for."""
        names = (
            "partition",
            "account",
            "qos",
            "constraint",
            "time",
            "mem",
            "gres",
            "nodes",
            "ntasks_per_node",
            "nodelist",
        )
        asked = [f"{name}={value}" for name in names if (value := getattr(self.options, name)) is not None]
        return f" with {', '.join(asked)}" if asked else ""

    def _partition_names(self) -> list[str]:
        if self._groups is None:
            try:
                self._groups = partitions.parse(self._commands.ask("sinfo", partitions.ARGUMENTS))
            except ClusterUnavailableError:
                return []
        return partitions.names(self._groups)

    def room(self, resources: Resources) -> int:
        """How many more jobs may be submitted now: by ``max_submitted``, by the budget of calls, and 0 for a while
        (15 s, doubling up to 15 min) after Slurm refused one for a limit or did not answer."""
        if self._clock.now() < self._not_before:
            return 0
        free = max(0, self.options.max_submitted - len(self._active))
        calls = self._budget.available("submit")
        return free if calls is None else min(free, calls)

    def submit(self, requests: Sequence[JobRequest]) -> list[SubmitOutcome]:
        """Submit one by one (each job has its own tag and output). After a limit or a missing answer the rest is
        refused without asking."""
        outcomes: list[SubmitOutcome] = []
        for request in requests:
            outcome = self._submit(request)
            outcomes.append(outcome)
            if isinstance(outcome, Unanswered) or (isinstance(outcome, Refused) and not outcome.permanent):
                rest = Refused(f"Not tried, after this about another job: {outcome.reason}", permanent=False)
                return outcomes + [rest] * (len(requests) - len(outcomes))
        return outcomes

    def _submit(self, request: JobRequest) -> SubmitOutcome:
        try:
            text = self.preview(request)
        except NotYetSupportedError as error:
            return Refused(str(error), permanent=True)
        outcome, told = self._submitter.submit(request, text)
        if isinstance(outcome, Accepted):
            self._active.add(outcome.job_id)
            self._backoff_s, self._not_before = 0.0, float("-inf")
        elif told is not None and told.meaning != "permanent":
            self._backoff_s = min(_LONGEST_BACKOFF_S, max(_FIRST_BACKOFF_S, 2 * self._backoff_s))
            self._not_before = self._clock.now() + self._backoff_s
        if isinstance(outcome, Unanswered):
            self._active.add(str(request.tag))  # perhaps it is there; the next look tells
        return outcome

    def jobs(self) -> list[JobStatus]:
        """Every job of this experiment that Slurm shows (ended ones for MinJobAge, 300 s by default), by one squeue.

        Raises ClusterUnavailableError, with Slurm's words, when it fails or the budget is spent.
        """
        try:
            found = squeue.parse(self._commands.ask("squeue", squeue.arguments(os.geteuid())), self._experiment_id)
        except ValueError as error:
            raise ClusterUnavailableError(str(error)) from error
        self._active = {job.job_id for job in found if not job.state.final}
        return found

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these jobs, a hundred by one scancel. Raises ClusterUnavailableError when one may not have been ended."""
        ids = [job_id for job_id in dict.fromkeys(job_ids) if is_job_id(job_id)]
        for start in range(0, len(ids), _CANCELLED_AT_ONCE):
            answer = self._commands.run("cancel", "scancel", ids[start : start + _CANCELLED_AT_ONCE])
            if answer.rc != 0 and (trouble := _trouble(answer)):
                raise ClusterUnavailableError(f"scancel failed: {trouble}")

    def preview(self, request: JobRequest) -> str:
        """The batch script that would be submitted. Raises NotYetSupportedError for inexpressible resources."""
        return script_text(request, self.options, self._folder, site_defaults(os.environ))

    def stats(self) -> CallStats:
        """How often Slurm's commands were called."""
        return self._budget.stats()

    def tidy(self, job_ids: Sequence[str]) -> None:
        """Remove the scripts of these jobs."""
        self._submitter.remove(job_ids)

    def close(self) -> None:
        """Nothing is held. Jobs go on."""


def _trouble(answer: Answer) -> str:
    """What of scancel's complaints is about more than jobs that are over already."""
    if answer.rc is None:
        return "it did not answer in time"
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    return "; ".join(li for li in lines if not any(gone in li.lower() for gone in _NOTHING_TO_CANCEL))
