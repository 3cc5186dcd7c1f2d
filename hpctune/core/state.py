"""The state of an experiment: folded from events, indexed so that a step costs by what is active, not by all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from hpctune.core.change import changed
from hpctune.core.evolve import add, evolve
from hpctune.model import events as e
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial


class ExperimentState:
    """Trials by id, and what concerns the experiment as a whole.

    Changed only by :meth:`apply`; the trials themselves are frozen values.
    """

    def __init__(self, spec: ExperimentSpec) -> None:
        self.spec = spec
        self.trials: dict[str, Trial] = {}
        self.dirnames: set[str] = set()
        self.active: dict[str, None] = {}
        """Ids of the trials that are not settled, oldest first."""
        self.phases: Counter[Phase] = Counter()
        self._in_phase: dict[Phase, dict[str, None]] = {phase: {} for phase in Phase if not phase.final}
        self.num_samples = spec.num_samples
        self.exhausted = False
        self.stopping: e.ExperimentStopRequested | None = None
        self.ended: str | None = None
        self.driven_s = 0.0
        self.jobs_accepted = 0
        self.commands: set[str] = set()
        self.drivers: list[e.Recorded] = []
        """The DriverStarted and DriverStopped events, oldest first."""
        self.last_at = 0.0

    @classmethod
    def fold(cls, spec: ExperimentSpec, events: Iterable[e.Recorded]) -> ExperimentState:
        """The state after ``events``."""
        state = cls(spec)
        for recorded in events:
            state.apply(recorded)
        return state

    @property
    def live(self) -> int:
        """How many trials have, or may have, a job."""
        return self.phases[Phase.SUBMITTING] + self.phases[Phase.QUEUED] + self.phases[Phase.RUNNING]

    @property
    def finished(self) -> int:
        """How many trials are over."""
        return self.phases[Phase.TERMINATED] + self.phases[Phase.ERROR]

    def active_trials(self) -> Iterator[Trial]:
        """The trials that are not settled; it is safe to apply events meanwhile."""
        for trial_id in list(self.active):
            trial = self.trials[trial_id]
            if not trial.settled:
                yield trial

    def in_phase(self, *phases: Phase) -> list[Trial]:
        """The trials in these phases (none of them final), oldest first."""
        found = [self.trials[trial_id] for phase in phases for trial_id in self._in_phase[phase]]
        return sorted(found, key=lambda trial: trial.index)

    def apply(self, recorded: e.Recorded) -> None:
        """Fold one event in."""
        event, self.last_at = recorded.event, recorded.at
        match event:
            case e.TrialAdded():
                self._put(None, add(event, recorded.at))
                self.dirnames.add(event.dirname)
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
                self.driven_s = event.seconds
            case e.ExperimentEnded():
                self.ended = event.reason
            case _:
                self.jobs_accepted += isinstance(event, (e.SubmitAcknowledged, e.RunStarted))
                before = self.trials[e.trial_id_of(event)]
                self._put(before, evolve(before, event, recorded.at, self.spec.metric))

    def _put(self, before: Trial | None, after: Trial) -> None:
        self.trials[after.trial_id] = after
        if before is None or before.phase is not after.phase:
            if before is not None:
                self.phases[before.phase] -= 1
                self._in_phase.get(before.phase, {}).pop(before.trial_id, None)
            self.phases[after.phase] += 1
            if after.phase in self._in_phase:
                self._in_phase[after.phase][after.trial_id] = None
        if before is None or before.settled != after.settled:
            if after.settled:
                self.active.pop(after.trial_id, None)
            else:
                self.active[after.trial_id] = None

    def _doubt_submissions(self, at: float) -> None:
        """A new driver cannot know which of its predecessor's requests reached the cluster."""
        for trial in self.active_trials():
            if trial.phase is Phase.SUBMITTING and trial.attempt is not None:
                self._put(trial, changed(trial, attempt=changed(trial.attempt, uncertain_since=at)))
