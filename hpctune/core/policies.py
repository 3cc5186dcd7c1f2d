"""The three policies of an experiment. They receive events in journal order, and their answers are events, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from hpctune.core.state import ExperimentState
from hpctune.errors import MetricError, UsageError
from hpctune.model import events as e
from hpctune.model.decisions import CONTINUE, Continue, Decision, Exploit, Pause, Reallocate, Stop
from hpctune.model.rows import flatten, lookup, number
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.schedulers.controller import controller_of
from hpctune.search.base import SearchPolicy, Suggestion
from hpctune.stopper import Stopper


@dataclass(slots=True)
class Policies:
    """Searcher, scheduler and (optional) stopper."""

    search: SearchPolicy
    scheduler: SchedulerPolicy
    stopper: Stopper | None = None

    @property
    def time_attr(self) -> str:
        """The reported value that the scheduler uses as time, also for milestones."""
        return str(getattr(self.scheduler, "time_attr", None) or "training_iteration")

    def feed(self, event: e.Event, state: ExperimentState) -> list[e.Event]:
        """Pass ``event``, which ``state`` has just applied, to the policies. Returns their answers.

        On replay the caller ignores the answers, because the recorded ones follow in the journal.
        """
        if (controller := controller_of(self.scheduler)) is not None:
            controller.trials = state.trials
        match event:
            case e.TrialAdded():
                trial = state.trials[event.trial_id]
                if trial.until is not None:
                    return self._end_at(trial)
                self.scheduler.on_trial_add(trial)
                answers = self._milestone(trial)
            case e.SubmitRequested():  # decisions on other trials may have changed the milestone
                trial = state.trials[event.trial_id]
                return self._milestone(trial) if trial.until is None else []
            case e.ResultReported(verdict=e.Verdict.COUNTED):
                answers = self._result(state.trials[event.run.trial_id], event, state)
            case e.TrialPaused():
                if event.trial_id not in state.added:
                    self.search.on_pause(event.trial_id)
                return []
            case e.TrialResumed():
                if event.trial_id not in state.added:
                    self.search.on_unpause(event.trial_id)
                return []
            case e.TrialEnded():
                answers = self._ended(state.trials[event.trial_id], state)
            case e.SearchExhausted():
                self.scheduler.on_search_exhausted()
                answers = []
            case _:
                return []
        for trial_id, decision in self._on_others():
            answers += self._facts(state.trials[trial_id], decision, state)
        return answers

    def _on_others(self) -> Sequence[tuple[str, Decision]]:
        """The scheduler's decisions on other trials, with those that it has given through its controller."""
        decisions = self.scheduler.decisions_on_others()
        controller = controller_of(self.scheduler)
        if controller is None:
            return decisions
        ordered, controller.ordered = controller.ordered, []
        return [*decisions, *ordered]

    def replay(self, event: e.Event, state: ExperimentState) -> None:
        """Restore the policies' state after ``event``, without asking for any suggestion or decision."""
        if isinstance(event, e.TrialAdded) and not event.command:
            self.search.replay(state.suggested - 1, event.trial_id, event.config)
        elif isinstance(event, e.BudgetUsed):
            self.tick(event.seconds)
        self.feed(event, state)

    def tick(self, driven_s: float) -> bool:
        """Tell the stopper the total driven time in seconds. Returns whether it ends the experiment."""
        if self.stopper is None:
            return False
        self.stopper.tick(driven_s)
        return self.stopper.stop_all()

    def completed(self, index: int, suggestion: Suggestion) -> Suggestion:
        """The suggestion with the keys that the scheduler adds to every configuration."""
        made = self.scheduler.complete_config(index, suggestion.config)
        if not isinstance(made, Mapping):
            raise UsageError(f"{type(self.scheduler).__name__}.complete_config must return a config, not {made!r}.")
        config = dict(made)
        if config == suggestion.config:
            return suggestion
        before, after = flatten(suggestion.config), flatten(config)
        new = {key: value for key, value in after.items() if key not in before}
        return Suggestion(config, {**suggestion.evaluated, **new})

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The waiting trial that gets the next free place: one on which the scheduler does not decide, else its choice.

        None: none.
        """
        apart = next((trial.trial_id for trial in waiting if trial.until is not None), None)
        return apart if apart is not None else self.scheduler.choose(waiting, idle=idle)

    def never_resumed(self, active: Sequence[Trial]) -> Collection[str]:
        """The ids of the paused trials that the scheduler cannot choose again. Schedulers of users may not know."""
        known: Callable[[Sequence[Trial]], Collection[str]] | None = getattr(self.scheduler, "never_resumed", None)
        return known(active) if known is not None else ()

    def _result(self, trial: Trial, event: e.ResultReported, state: ExperimentState) -> list[e.Event]:
        row, answers = event.row, list[e.Event]()
        if trial.until is not None:
            return []
        if trial.trial_id not in state.added:
            self.search.on_result(trial.trial_id, row)
        # A trial that is about to vacate its job has its decision already: later results need no new one.
        try:
            decision = self.scheduler.on_trial_result(trial, row) if trial.leave is None else CONTINUE
        except MetricError as error:
            return _fatal(error, state)
        if row.get("done") and not isinstance(decision, Stop):
            decision = CONTINUE  # the trial ends with this result anyway
        if isinstance(decision, Pause) and decision.yields and not self._awaited(state):
            decision = CONTINUE
        answers += self._facts(trial, decision, state)
        if isinstance(decision, Continue):
            answers += self._answered(trial, event)
        if self.stopper is not None:
            if self.stopper(trial.trial_id, dict(row)):
                answers.append(e.StopRequested(trial.trial_id, f"stopper {type(self.stopper).__name__}"))
            if self.stopper.stop_all():
                answers.append(e.ExperimentStopRequested(f"stopper {type(self.stopper).__name__} stopped all"))
        return answers

    def _awaited(self, state: ExperimentState) -> bool:
        """Whether a trial waits for a place, or a new one is still expected."""
        if state.phases[Phase.PENDING] or state.phases[Phase.PAUSED]:
            return True
        total = self.search.total
        return not state.exhausted if total is None else state.suggested < total

    def _facts(self, trial: Trial, decision: Decision, state: ExperimentState) -> list[e.Event]:
        """The events for a decision on ``trial``."""
        match decision:
            case Continue():
                return []
            case Stop():
                return [e.StopRequested(trial.trial_id, decision.reason)]
            case Pause():
                return [e.PauseRequested(trial.trial_id, decision.reason)]
            case Exploit():
                return _exploit(trial, decision, state.trials[decision.donor])
            case Reallocate():
                same = decision.resources == trial.resources
                return [] if same else [e.ResourcesChanged(trial.trial_id, decision.resources, decision.reason)]
            case _:  # possible with a user's own scheduler
                raise UsageError(
                    f"{type(self.scheduler).__name__} returned {decision!r}, which is not a decision. Return CONTINUE, "
                    "Stop, Pause, Exploit or Reallocate of hpctune.model.decisions."
                )

    def _answered(self, trial: Trial, event: e.ResultReported) -> list[e.Event]:
        """The events for a trial that goes on: the reached milestone is answered, and the next one is set."""
        reached = number(event.row, self.time_attr)
        if trial.milestone is None or reached is None or reached < trial.milestone:
            return self._milestone(trial)
        return [e.MilestoneAnswered(trial.trial_id, reached), *self._milestone(trial)]

    def _milestone(self, trial: Trial) -> list[e.Event]:
        scheduler = self.scheduler
        value = scheduler.milestone(trial)
        after = getattr(scheduler, "milestone_after", None)  # schedulers of users may not have them
        then = after(trial, value) if after is not None and value is not None else None
        end = scheduler.end(trial) if hasattr(scheduler, "end") else None
        if (value, then, end) == (trial.milestone, trial.milestone_then, trial.ends_at_value):
            return []
        return [e.MilestoneSet(trial.trial_id, value, self.time_attr, scheduler.synchronous, then, end)]

    def _end_at(self, trial: Trial) -> list[e.Event]:
        """The event that lets a trial on which the scheduler does not decide end at its ``until``."""
        return [e.MilestoneSet(trial.trial_id, None, self.time_attr, False, None, trial.until)] if trial.until else []

    def _ended(self, trial: Trial, state: ExperimentState) -> list[e.Event]:
        failed = trial.phase is Phase.ERROR
        if trial.trial_id not in state.added:
            self.search.on_complete(trial.trial_id, dict(trial.last) or None, failed)
        elif (learn := getattr(self.search, "learn", None)) is not None:
            learn(trial.config, dict(trial.last) or None, failed)
        if trial.until is not None:
            return []
        if failed:
            self.scheduler.on_trial_error(trial)
            return []
        try:
            self.scheduler.on_trial_complete(trial, trial.last)
        except MetricError as error:
            return _fatal(error, state)
        return []


def _fatal(error: MetricError, state: ExperimentState) -> list[e.Event]:
    """The event if the scheduler cannot decide at all: an error of the whole experiment."""
    return [] if state.stopping is not None else [e.ExperimentStopRequested(str(error), fatal=True)]


def _exploit(trial: Trial, decision: Exploit, donor: Trial) -> list[e.Event]:
    if donor.restore is None:
        return []
    return [
        e.ExploitRequested(
            trial.trial_id,
            donor.trial_id,
            donor.restore,
            donor.restore_iteration,
            config=decision.config,
            evaluated={key: lookup(decision.config, key) for key in trial.evaluated},
            reason=decision.reason,
            tag=decision.tag or trial.tag,
        )
    ]
