"""The three policies of an experiment, fed with facts in journal order; what they answer are facts again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from hpctune.core.state import ExperimentState
from hpctune.errors import MetricError
from hpctune.model import events as e
from hpctune.model.decisions import CONTINUE, Continue, Pause, Stop
from hpctune.model.rows import number
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.search.base import SearchPolicy
from hpctune.stopper import Stopper


@dataclass(slots=True)
class Policies:
    """Searcher, scheduler and (optional) stopper."""

    search: SearchPolicy
    scheduler: SchedulerPolicy
    stopper: Stopper | None = None

    @property
    def time_attr(self) -> str:
        """The reported value by which the scheduler counts time, and milestones."""
        return str(getattr(self.scheduler, "time_attr", None) or "training_iteration")

    def feed(self, event: e.Event, state: ExperimentState) -> list[e.Event]:
        """Tell the policies of ``event``, which ``state`` has just taken; returns what they answer.

        On replay the caller throws the answers away: the recorded ones follow in the journal.
        """
        match event:
            case e.TrialAdded():
                trial = state.trials[event.trial_id]
                self.scheduler.on_trial_add(trial)
                return self._milestone(trial)
            case e.ResultReported(verdict=e.Verdict.COUNTED):
                return self._result(state.trials[event.run.trial_id], event)
            case e.TrialEnded():
                return self._ended(state.trials[event.trial_id], state)
            case _:
                return []

    def replay(self, event: e.Event, state: ExperimentState) -> None:
        """Bring the policies to where they were after ``event``, without asking for any suggestion or decision."""
        if isinstance(event, e.TrialAdded):
            self.search.replay(event.index, event.trial_id, event.config)
        elif isinstance(event, e.BudgetUsed):
            self.tick(event.seconds)
        self.feed(event, state)

    def tick(self, driven_s: float) -> bool:
        """Tell the stopper for how long the experiment has been driven in all; whether it ends the experiment."""
        if self.stopper is None:
            return False
        self.stopper.tick(driven_s)
        return self.stopper.stop_all()

    def _result(self, trial: Trial, event: e.ResultReported) -> list[e.Event]:
        row, answers = event.row, list[e.Event]()
        self.search.on_result(trial.trial_id, row)
        # A trial that is about to pause has been decided on; what it says before it obeys is no new question.
        decision = self.scheduler.on_trial_result(trial, row) if not trial.pause else CONTINUE
        match decision:
            case Stop():
                answers.append(e.StopRequested(trial.trial_id, decision.reason))
            case Pause():
                answers.append(e.PauseRequested(trial.trial_id, decision.reason))
            case Continue():
                answers += self._answered(trial, event)
            case _:
                assert_never(decision)
        if self.stopper is not None:
            if self.stopper(trial.trial_id, dict(row)):
                answers.append(e.StopRequested(trial.trial_id, f"stopper {type(self.stopper).__name__}"))
            if self.stopper.stop_all():
                answers.append(e.ExperimentStopRequested(f"stopper {type(self.stopper).__name__} stopped all"))
        return answers

    def _answered(self, trial: Trial, event: e.ResultReported) -> list[e.Event]:
        """The trial goes on: let it pass the milestone it has reached, and tell it of the next."""
        reached = number(event.row, self.time_attr)
        if trial.milestone is None or reached is None or reached < trial.milestone:
            return self._milestone(trial)
        return [e.MilestoneAnswered(trial.trial_id, reached), *self._milestone(trial)]

    def _milestone(self, trial: Trial) -> list[e.Event]:
        value = self.scheduler.milestone(trial)
        return [] if value == trial.milestone else [e.MilestoneSet(trial.trial_id, value, self.time_attr)]

    def _ended(self, trial: Trial, state: ExperimentState) -> list[e.Event]:
        failed = trial.phase is Phase.ERROR
        self.search.on_complete(trial.trial_id, dict(trial.last) or None, failed)
        if failed:
            self.scheduler.on_trial_error(trial)
            return []
        try:
            self.scheduler.on_trial_complete(trial, trial.last)
        except MetricError as error:  # the scheduler can never decide anything: an error of the whole experiment
            return [] if state.stopping is not None else [e.ExperimentStopRequested(str(error), fatal=True)]
        return []
