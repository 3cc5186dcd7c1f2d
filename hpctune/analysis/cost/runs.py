"""How each run ended, from the journal: whether its time was of use, lost, or a zombie's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import Outcome
from hpctune.model.resources import Resources
from hpctune.model.rows import number
from hpctune.model.trial import Phase


class Cause(str, Enum):
    """What a stretch of an allocation's time was used for."""

    USER_CODE = "user code"
    """The trial ran, and nothing of it had to be repeated."""
    STARTUP = "start-up"
    """From the start of the job until its worker took its trial: the job's set-up, the interpreter, imports."""
    IDLE = "idle"
    """Held without a trial: between the trials of a worker, and until a job was over."""
    PREEMPTION = "preemption"
    """Lost: the work after the last checkpoint, when the cluster ended the job (preemption, time limit, lost node)."""
    FAILURE = "failure"
    """Lost: the last run of a trial that failed for good; of one tried again, what came after its checkpoint."""
    ZOMBIE = "zombie"
    """A run that went on after another run had replaced it, and jobs that were not needed any more."""
    DRIVER = "driver"
    """The jobs of the driver itself (``--sbatch``)."""


_OF_USE = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.PAUSED, Outcome.REPLACED)
_FAILURES = (JobState.FAILED, JobState.OUT_OF_MEMORY, JobState.COMPLETED, JobState.CANCELLED)


@dataclass(slots=True)
class Run:
    """One run of a trial; ``restart`` -1: a job of the attempt that no run has claimed.

    ``saved_at``: when its last checkpoint was made. ``replaced_at``: when another run of the trial began before this
    one had said that it ended. ``resources``: what the attempt asked for. ``nodes``: where it ran. Unix seconds.
    """

    key: RunKey
    began_at: float
    resources: Resources
    nodes: str = ""
    saved_at: float | None = None
    ended_at: float | None = None
    replaced_at: float | None = None
    outcome: Outcome | None = None
    ended: JobState | None = None
    given_up: bool = False
    revoked: bool = False
    fate: Phase | None = None
    """The phase of the trial after it: PENDING (again), PAUSED, TERMINATED, ERROR; None: not known yet."""
    no_progress: bool = False

    def lost(self) -> tuple[Cause, float] | None:
        """Why a part of its time was lost, and since when; None if nothing was."""
        since = self.began_at if self.saved_at is None else self.saved_at
        if self.revoked or self.outcome is Outcome.REVOKED:
            return Cause.ZOMBIE, self.began_at
        if self.outcome in _OF_USE or self.fate in (Phase.TERMINATED, Phase.PAUSED):
            return None
        if self.fate is Phase.ERROR:
            return (Cause.PREEMPTION if self.no_progress else Cause.FAILURE), self.began_at
        if self.given_up or self.outcome is Outcome.FAILED:
            return Cause.FAILURE, since
        if self.outcome is None and self.ended in _FAILURES:
            return Cause.FAILURE, since
        if self.outcome is not None or self.ended is not None or self.replaced_at is not None:
            return Cause.PREEMPTION, since
        return None


@dataclass(slots=True)
class Runs:
    """All runs of an experiment by (trial, attempt), oldest first, and the resources that trials asked for last."""

    by_attempt: dict[tuple[str, int], list[Run]] = field(default_factory=dict)
    resources: dict[str, Resources] = field(default_factory=dict)
    attempts: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The trial and attempt of every job that the journal names."""
    _last: dict[str, Run] = field(default_factory=dict)
    _asked: dict[tuple[str, int], Resources] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[e.Recorded]) -> Runs:
        """The runs in a journal."""
        runs = cls()
        for recorded in events:
            runs.take(recorded)
        return runs

    def at(self, trial: str, attempt: int, begin: float, end: float) -> Run | None:
        """The run of this attempt in a stretch of time: the last that began before its end."""
        of_attempt = self.by_attempt.get((trial, attempt), [])
        return next((run for run in reversed(of_attempt) if run.began_at < end), next(iter(of_attempt), None))

    def attempt_of(self, job_id: str) -> tuple[str, int] | None:
        """The trial and attempt that the journal names with this job."""
        return self.attempts.get(job_id)

    def asked(self, trial: str, attempt: int) -> Resources | None:
        """The resources that this attempt asked for."""
        return self._asked.get((trial, attempt))

    def take(self, recorded: e.Recorded) -> None:
        """Use the next event."""
        event, at = recorded.event, recorded.at
        match event:
            case e.ResultReported():
                self._reported(event, at)
            case e.TrialAdded():
                self.resources[event.trial_id] = event.resources
            case e.ResourcesChanged():
                self.resources[event.trial_id] = event.resources
            case e.SubmitRequested():
                self._asked[event.trial_id, event.attempt] = self.resources[event.trial_id]
            case e.SubmitAcknowledged() | e.JobChanged():
                self.attempts[event.job_id] = (event.trial_id, event.attempt)
            case e.RunStarted():
                self._started(event, at)
            case e.RunEnded():
                self._ended(event, at)
            case e.JobEnded() | e.RunGivenUp() | e.AttemptRevoked():
                self._over(event, at)
            case e.RetryScheduled():
                self._fate(event.trial_id, Phase.PENDING)
            case e.TrialPaused():
                self._fate(event.trial_id, Phase.PAUSED)
            case e.TrialEnded():
                stuck = event.error is not None and event.error.kind == "NoProgress"
                self._fate(event.trial_id, event.phase, no_progress=stuck)

    def _started(self, event: e.RunStarted, at: float) -> None:
        key, began = event.run, event.claimed_at or at
        self.attempts[event.job_id] = (key.trial_id, key.attempt)
        before = self._last.get(key.trial_id)
        if before is not None and before.outcome is None:
            before.replaced_at = began
        run = Run(key, began, self._asked.get((key.trial_id, key.attempt), Resources()), event.nodes or event.host)
        self._add(run)

    def _add(self, run: Run) -> None:
        self._last[run.key.trial_id] = run
        self.by_attempt.setdefault((run.key.trial_id, run.key.attempt), []).append(run)

    def _reported(self, event: e.ResultReported, at: float) -> None:
        run = self._find(event.run)
        if run is not None and event.checkpoint is not None:
            said = number(event.row, "timestamp")
            run.saved_at = max(run.began_at, min(at, at if said is None else said + 1))  # it has whole seconds

    def _ended(self, event: e.RunEnded, at: float) -> None:
        run = self._find(event.run)
        if run is not None:
            run.outcome, run.ended_at = event.outcome, event.left_at or at
            if event.checkpoint is not None:
                run.saved_at = run.ended_at

    def _over(self, event: e.JobEnded | e.RunGivenUp | e.AttemptRevoked, at: float) -> None:
        runs = self.by_attempt.get((event.trial_id, event.attempt), [])
        if not runs:
            key = RunKey(event.trial_id, event.attempt, -1)
            self._add(Run(key, at, self._asked.get((event.trial_id, event.attempt), Resources())))
            runs = self.by_attempt[event.trial_id, event.attempt]
        run = runs[-1]
        run.ended_at = run.ended_at or at
        if isinstance(event, e.JobEnded):
            run.ended = event.state
        run.given_up |= isinstance(event, e.RunGivenUp)
        run.revoked |= isinstance(event, e.AttemptRevoked)

    def _fate(self, trial: str, phase: Phase, *, no_progress: bool = False) -> None:
        run = self._last.get(trial)
        if run is not None and run.fate is None:
            run.fate, run.no_progress = phase, no_progress

    def _find(self, key: RunKey) -> Run | None:
        return next((run for run in self.by_attempt.get((key.trial_id, key.attempt), []) if run.key == key), None)
