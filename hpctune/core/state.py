"""The state of an experiment, computed from its events. Indexes make a step's cost depend on the active trials only."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hpctune.core.change import changed
from hpctune.core.compact import Packer, reopened
from hpctune.core.evolve import add, evolve
from hpctune.core.held_time import HeldTime
from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.model.records import Outcome
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase, Trial

_GOOD_ENDS = (Outcome.COMPLETED, Outcome.STOPPED, Outcome.PAUSED)
_DEATHS = (JobState.NODE_FAIL, JobState.FAILED, JobState.COMPLETED)
"""Ends of jobs without an exit record that were not requested."""


@dataclass(frozen=True, slots=True)
class CheckpointTotals:
    """All checkpoints of an experiment. ``bytes``: of those whose size is known; ``unknown``: how many others."""

    count: int = 0
    bytes: int = 0
    unknown: int = 0

    def changed(self, before: Sequence[CheckpointRef], after: Sequence[CheckpointRef]) -> CheckpointTotals:
        """The totals after a trial's checkpoints have changed."""
        return CheckpointTotals(
            self.count + len(after) - len(before),
            self.bytes + sum(c.bytes or 0 for c in after) - sum(c.bytes or 0 for c in before),
            self.unknown + sum(c.bytes is None for c in after) - sum(c.bytes is None for c in before),
        )


class ExperimentState:
    """The trials by id, and the state of the experiment as a whole.

    Only :meth:`apply` changes it. The trials themselves are frozen values.
    """

    def __init__(self, spec: ExperimentSpec) -> None:
        self.spec = spec
        self.trials: dict[str, Trial] = {}
        self.dirnames: set[str] = set()
        self.active: dict[str, None] = {}
        """Ids of the trials that are not over, oldest first."""
        self.unfinalized: dict[str, None] = {}
        """Ids of the trials that are over and not finalized: their files are not removed yet."""
        self.borrowed: dict[str, str] = {}
        """The checkpoint of another trial from which a trial would start, by trial (also for trials that are over)."""
        self.saved: dict[str, None] = {}
        """Ids of the trials that have checkpoints, oldest first."""
        self.checkpoints = CheckpointTotals()
        self.phases: Counter[Phase] = Counter()
        self._in_phase: dict[Phase, dict[str, None]] = {phase: {} for phase in Phase if not phase.final}
        self.num_samples = spec.num_samples
        self.exhausted = False
        self.stopping: e.ExperimentStopRequested | None = None
        self.ended: str | None = None
        self.driven_s = 0.0
        self.budget_held = 0.0
        """What was held of the budget when it was last recorded, in the budget's unit."""
        self.held_time = HeldTime()
        self.jobs_accepted = 0
        self.commands: set[str] = set()
        self.added: dict[str, str] = {}
        """The command that added a trial, by trial. The searcher suggested the others."""
        self.drivers: list[e.Recorded] = []
        """The DriverStarted and DriverStopped events, oldest first."""
        self.reported = False
        """Whether any trial has ever reported a result or ended without an error."""
        self.deaths: Counter[str] = Counter()
        """How many attempts in a row died, by node."""
        self.healthy: set[str] = set()
        """Nodes on which an attempt has ended without an error."""
        self.last_at = 0.0
        self._packer = Packer()

    @classmethod
    def fold(cls, spec: ExperimentSpec, events: Iterable[e.Recorded]) -> ExperimentState:
        """The state after ``events``."""
        state = cls(spec)
        for recorded in events:
            state.apply(recorded)
        return state

    def copy(self) -> ExperimentState:
        """Another state that is equal; to apply an event to one does not change the other."""
        made = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (dict, set, list)):
                setattr(made, name, copy.copy(value))
        made._in_phase = {phase: dict(ids) for phase, ids in self._in_phase.items()}
        made.held_time, made._packer = self.held_time.copy(), Packer()
        return made

    @property
    def live(self) -> int:
        """How many trials have, or may have, a job."""
        return self.phases[Phase.SUBMITTING] + self.phases[Phase.QUEUED] + self.phases[Phase.RUNNING]

    @property
    def suggested(self) -> int:
        """How many trials the searcher has suggested."""
        return len(self.trials) - len(self.added)

    @property
    def finished(self) -> int:
        """How many trials are over."""
        return self.phases[Phase.TERMINATED] + self.phases[Phase.ERROR]

    def bad_nodes(self, deaths: int) -> list[str]:
        """The nodes on which at least ``deaths`` attempts in a row died, if attempts end well on some other node."""
        fine = any(not self.deaths[node] for node in self.healthy)
        return sorted(node for node, number in self.deaths.items() if number >= deaths) if fine else []

    def active_trials(self) -> Iterator[Trial]:
        """The trials that are not over. Events may be applied during the iteration."""
        for trial_id in list(self.active):
            trial = self.trials[trial_id]
            if not trial.phase.final:
                yield trial

    def unfinalized_trials(self) -> list[Trial]:
        """The trials that are over and not finalized."""
        return [self.trials[trial_id] for trial_id in self.unfinalized]

    def in_phase(self, *phases: Phase) -> list[Trial]:
        """The trials in these phases (none of them final), oldest first."""
        found = [self.trials[trial_id] for phase in phases for trial_id in self._in_phase[phase]]
        return sorted(found, key=lambda trial: trial.index)

    def apply(self, recorded: e.Recorded) -> None:
        """Update the state with one event."""
        event, self.last_at = recorded.event, recorded.at
        match event:
            case e.ResultReported():  # first, since most are
                self._evolve(event, recorded.at)
            case e.TrialAdded():
                self._put(None, add(event, recorded.at))
                self.dirnames.add(event.dirname)
                if event.command:
                    self.added[event.trial_id] = event.command
            case e.DriverStarted():
                self.drivers.append(recorded)
                self._doubt_submissions(recorded.at)
            case e.DriverStopped():
                self.drivers.append(recorded)
            case e.SearchExhausted():
                self.exhausted = True
            case e.CommandReceived():
                self.commands.add(event.command_id)
            case e.ExperimentStopRequested():
                self.stopping = self.stopping or event
            case e.ExperimentReopened():
                self.stopping, self.ended, self.exhausted = None, None, False
                self.num_samples = event.num_samples
            case e.BudgetUsed():
                self.driven_s, self.budget_held = event.seconds, event.held
            case e.ExperimentEnded():
                self.ended = event.reason
            case _:
                self.jobs_accepted += isinstance(event, (e.SubmitAcknowledged, e.RunStarted))
                self.held_time.apply(event, recorded.at, self.trials[e.trial_id_of(event)].resources)
                self._evolve(event, recorded.at)

    def _evolve(self, event: e.TrialEvent, at: float) -> None:
        before = self.trials[e.trial_id_of(event)]
        self._note_health(before, event)
        self._put(before, evolve(before, event, at, self.spec.metric))

    def _put(self, before: Trial | None, after: Trial) -> None:
        if before is not None and before.finalized != after.finalized:
            after = self._packer.pack(after) if after.finalized else reopened(after)
        self.trials[after.trial_id] = after
        self._count_checkpoints(before, after)
        if before is None or before.restore != after.restore:
            self.borrowed.pop(after.trial_id, None)
            if after.restore is not None and not after.restore.startswith(f"{after.dirname}/"):
                self.borrowed[after.trial_id] = after.restore
        if before is None or before.phase is not after.phase:
            if before is not None:
                self.phases[before.phase] -= 1
                self._in_phase.get(before.phase, {}).pop(before.trial_id, None)
            self.phases[after.phase] += 1
            if after.phase in self._in_phase:
                self._in_phase[after.phase][after.trial_id] = None
        index, was = self._index(after), self._index(before) if before is not None else None
        if index is not was:
            if was is not None:
                del was[after.trial_id]
            if index is not None:
                index[after.trial_id] = None

    def _count_checkpoints(self, before: Trial | None, after: Trial) -> None:
        was = before.checkpoints if before is not None else ()
        if was is after.checkpoints:
            return
        self.checkpoints = self.checkpoints.changed(was, after.checkpoints)
        if after.checkpoints:
            self.saved[after.trial_id] = None
        else:
            self.saved.pop(after.trial_id, None)

    def _index(self, trial: Trial) -> dict[str, None] | None:
        """The index that contains the trial; None if nothing remains to be done for it."""
        if not trial.phase.final:
            return self.active
        return None if trial.finalized else self.unfinalized

    def _note_health(self, trial: Trial, event: e.TrialEvent) -> None:
        """Update the health of a node from the end of an attempt that ran on this node alone."""
        if isinstance(event, e.ResultReported):
            self.reported = self.reported or event.verdict is e.Verdict.COUNTED
            return
        well = isinstance(event, e.RunEnded) and event.outcome in _GOOD_ENDS
        self.reported = self.reported or well
        failed = isinstance(event, e.RunEnded) and event.outcome is Outcome.FAILED
        died = isinstance(event, e.JobEnded) and event.state in _DEATHS
        node = trial.attempt.nodes if trial.attempt is not None else ""
        if not node or "[" in node or "," in node:
            return
        if well:
            self.healthy.add(node)
            del self.deaths[node]
        elif failed or died or isinstance(event, e.RunGivenUp):
            self.deaths[node] += 1

    def _doubt_submissions(self, at: float) -> None:
        """Mark submissions as uncertain: a new driver does not know which requests of the last one were received."""
        for trial in self.active_trials():
            if trial.phase is Phase.SUBMITTING and trial.attempt is not None:
                self._put(trial, changed(trial, attempt=changed(trial.attempt, uncertain_since=at)))
