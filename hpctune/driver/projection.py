"""Passes events to callbacks: to loggers, whose files can be rebuilt, and to the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, overload

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase
from hpctune.output.callback import Callback, CallbackList
from hpctune.output.callback_states import CallbackStates
from hpctune.output.loggers.error_file import write_error
from hpctune.output.loggers.pbt_log import PolicyLog
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import counted_rows
from hpctune.trial import StatsTracking, Trial


class Trials(Sequence[Trial]):
    """The public views of all trials, in order. A view is created at its first use."""

    def __init__(
        self, paths: ExperimentPaths, spec: ExperimentSpec, unwritten: Callable[[], Iterable[e.Recorded]] = tuple
    ) -> None:
        self._paths, self._spec, self._unwritten = paths, spec, unwritten
        self._views: dict[str, Trial] = {}
        self._order: list[str] = []
        self._state: ExperimentState | None = None
        self._tracking = StatsTracking()

    def bind(self, state: ExperimentState) -> None:
        """Show the trials of ``state`` from now on."""
        self._state, self._order = state, list(state.trials)

    def added(self, trial_id: str) -> None:
        """Add a trial."""
        self._order.append(trial_id)

    def view(self, trial_id: str) -> Trial:
        """The current view of one trial. Views of finalized trials are kept only if they may hold statistics."""
        assert self._state is not None
        value = self._state.trials[trial_id]
        view = self._views.get(trial_id)
        if view is None:
            view = Trial(value, self._paths, self._spec, partial(self._rows, trial_id), self._tracking)
            if not value.finalized or self._tracking.asked:
                self._views[trial_id] = view
        view.value = value
        return view

    def _rows(self, trial_id: str) -> list[Mapping[str, Any]]:
        return [r.row for r in counted_rows(self._paths, [trial_id], self._unwritten())[trial_id]]

    def forget(self, trial_id: str) -> None:
        """Drop a view that will hardly be used again."""
        self._views.pop(trial_id, None)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Trial]: ...
    def __getitem__(self, index: int | slice) -> Trial | Sequence[Trial]:
        if isinstance(index, slice):
            return [self.view(i) for i in self._order[index]]
        return self.view(self._order[index])


class Projector:
    """Passes each event to the callbacks once, and rebuilds the loggers' files after a restart of the driver."""

    def __init__(
        self,
        paths: ExperimentPaths,
        spec: ExperimentSpec,
        callbacks: Sequence[Callback],
        policy_log: PolicyLog | None = None,
        unwritten: Callable[[], Iterable[e.Recorded]] = tuple,
    ) -> None:
        """``unwritten``: a function that returns the events that are recorded, and not in the journal yet."""
        self._paths, self._spec, self._policy_log = paths, spec, policy_log
        self._callbacks = CallbackList(callbacks)
        self._states = CallbackStates(paths, self._callbacks)
        self.trials = Trials(paths, spec, unwritten)
        self._iteration = 0
        self._started = False
        self._ended = False

    def start(self, state: ExperimentState) -> None:
        """Set up the callbacks, and rebuild the files of unfinalized trials from the journal."""
        self.trials.bind(state)
        self._callbacks.setup(
            stop=dict(self._spec.criteria), num_samples=self._spec.num_samples, total_num_samples=state.num_samples,
            time_budget_s=self._spec.time_budget_s,
        )  # fmt: skip
        self._states.restore()
        self._started = True
        if self._policy_log is not None:
            self._policy_log.start()
        begun = [t.trial_id for t in (*state.active_trials(), *state.unfinalized_trials()) if t.started_at is not None]
        rows = counted_rows(self._paths, begun) if begun else {}
        for trial_id in begun:
            view = self.trials.view(trial_id)
            self._callbacks.rebuild(view, [r.row for r in rows[trial_id]])
            if state.trials[trial_id].phase.final:
                self._callbacks.rebuilt(view, failed=state.trials[trial_id].phase is Phase.ERROR)

    def begin_step(self) -> None:
        """Call at the begin of a turn of the driver."""
        self._callbacks.on_step_begin(self._iteration, self.trials)

    def end_step(self, now: float) -> None:
        """Call at the end of a turn of the driver."""
        self._callbacks.on_step_end(self._iteration, self.trials)
        self._callbacks.flush()
        self._states.save(now)

    def take(self, event: e.Event, state: ExperimentState) -> None:
        """Pass ``event``, which ``state`` has just applied, to the callbacks.

        Before :meth:`start`, while the journal is replayed, only the policy log gets it, which needs every event.
        """
        if self._policy_log is not None:
            self._policy_log.take(event, state)
        if not self._started:
            return
        trials, calls = self.trials, self._callbacks
        self._iteration += 1
        step = self._iteration
        match event:
            case e.TrialAdded():
                trials.added(event.trial_id)
            case e.RunStarted():
                view = trials.view(event.run.trial_id)
                first = state.trials[event.run.trial_id].results == 0
                (calls.on_trial_start if first else calls.on_trial_restore)(step, trials, view)
            case e.ResultReported(verdict=e.Verdict.COUNTED):
                view = trials.view(event.run.trial_id)
                calls.on_trial_result(step, trials, view, event.row)
                if event.checkpoint is not None:
                    calls.on_checkpoint(step, trials, view, view.checkpoint)
                    calls.on_trial_save(step, trials, view)
            case e.RetryScheduled():
                self._error_file(state, event.trial_id)
                if event.counts:
                    calls.on_trial_recover(step, trials, trials.view(event.trial_id))
            case e.TrialReopened(restart=True):
                calls.rebuild(trials.view(event.trial_id), [])
            case e.TrialEnded():
                self._trial_ended(state, event)
            case e.TrialFinalized():
                trials.forget(event.trial_id)
            case e.ExperimentEnded():
                self._end()
            case _:
                pass

    def _trial_ended(self, state: ExperimentState, event: e.TrialEnded) -> None:
        view = self.trials.view(event.trial_id)
        self._error_file(state, event.trial_id)
        failed = event.phase is Phase.ERROR
        call = self._callbacks.on_trial_error if failed else self._callbacks.on_trial_complete
        call(self._iteration, self.trials, view)

    def _error_file(self, state: ExperimentState, trial_id: str) -> None:
        trial = state.trials[trial_id]
        if trial.error is not None:
            write_error(self._paths.trial(trial.dirname), trial.error, state.last_at)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._callbacks.on_experiment_end(self.trials)

    def save(self) -> None:
        """Save the states of callbacks. Not to be called if another driver has taken over."""
        self._states.save(float("inf"))

    def close(self) -> None:
        """Close the callbacks and the policy log."""
        try:
            if self._policy_log is not None:
                self._policy_log.close()
        finally:
            self._callbacks.close()
