"""Hooks of an experiment: ``Callback`` and ``LoggerCallback`` as in Ray Tune, and the list that calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.common import unpickling
from hpctune.common.log import log
from hpctune.errors import TuneError, as_instance_of
from hpctune.model.rows import copied
from hpctune.trial import Trial

Trials = Sequence[Trial]


class Callback:
    """Override the hooks that you need. All hooks run in the driver, one after another: keep them quick.

    ``trials`` holds all trials of the experiment, possibly many: look at those you need. What a hook raises ends the
    experiment's driver with a TuneError that names callback and hook; jobs and results are not affected.
    """

    rebuilds: bool = False
    """Whether this callback makes files that can be rebuilt. After a restart of the driver such a callback gets
    ``on_trial_start`` and then every result once more for each trial that goes on, and starts its files afresh; no
    other callback ever gets a result twice."""

    def setup(
        self,
        stop: Mapping[str, Any] | None = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Before anything else, in each driver."""

    def on_step_begin(self, iteration: int, trials: Trials, **info: Any) -> None:
        """Before each turn of the driver."""

    def on_step_end(self, iteration: int, trials: Trials, **info: Any) -> None:
        """After each turn of the driver."""

    def on_trial_start(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial runs; called once for a trial in each driver."""

    def on_trial_restore(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial continues from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial has saved a checkpoint."""

    def on_trial_result(
        self, iteration: int, trials: Trials, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has reported. ``result`` is the callback's own copy."""

    def on_trial_complete(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial is over, without an error."""

    def on_trial_recover(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial has failed and will be tried again."""

    def on_trial_error(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        """A trial is over, with an error."""

    def on_checkpoint(
        self, iteration: int, trials: Trials, trial: Trial, checkpoint: Checkpoint | None, **info: Any
    ) -> None:
        """A trial's checkpoint is complete."""

    def on_experiment_end(self, trials: Trials, **info: Any) -> None:
        """Every trial is over."""

    def get_state(self) -> dict[str, Any] | None:
        """What the callback wants back in the next driver. It is saved every ten seconds and when a driver leaves:
        after one that was killed, it may be older than the last result that the callback has heard of. A callback with
        ``rebuilds`` hears of every result again, and is not asked."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`get_state` gave; called after :meth:`setup`."""

    def flush(self) -> None:
        """Write what was held back until now. Callbacks with ``rebuilds`` are asked for it after each turn of the
        driver, and before any other callback hears of anything. (Not in Ray Tune.)"""

    def close(self) -> None:
        """The driver leaves: let go of what is open. (Not in Ray Tune.)"""


class LoggerCallback(Callback):
    """A callback in the words of a logger: override the ``log_trial_*`` methods."""

    def log_trial_start(self, trial: Trial) -> None:
        """A trial runs."""

    def log_trial_restore(self, trial: Trial) -> None:
        """A trial continues from a checkpoint."""

    def log_trial_save(self, trial: Trial) -> None:
        """A trial has saved a checkpoint."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has reported."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """A trial is over."""

    def on_trial_start(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        self.log_trial_start(trial)

    def on_trial_restore(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        self.log_trial_save(trial)

    def on_trial_result(
        self, iteration: int, trials: Trials, trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.log_trial_result(iteration, trial, result)

    def on_trial_complete(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        self.log_trial_end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: Trials, trial: Trial, **info: Any) -> None:
        self.log_trial_end(trial, failed=True)


class NotStored(Callback):
    """In the place of a callback ``name`` that could not be stored, for a driver that resumes without the script."""

    def __init__(self, name: str) -> None:
        self.name = name

    def setup(
        self,
        stop: Mapping[str, Any] | None = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        log.warning(
            f"The callback {self.name} is not called, as it could not be stored. With it: run the script again."
        )


class CallbackList:
    """Passes each hook on to every callback, in order."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.callbacks = tuple(callbacks)
        self._others = tuple(c for c in self.callbacks if not c.rebuilds)
        self._hearers = tuple((c, type(c).__module__.startswith("hpctune.output.")) for c in self.callbacks)
        """Each with whether it is one of our own loggers, which only read."""
        self.stateful = any(type(c).get_state is not Callback.get_state for c in self._others)
        """Whether any callback may have a state."""
        self._owing = False
        """Whether callbacks that make files may hold something back."""
        self._introduced: set[str] = set()
        """Trials for which ``on_trial_start`` was called in this driver and whose end was not."""

    def _call(self, callbacks: Sequence[Callback], hook: str, **arguments: Any) -> None:
        for callback in callbacks:
            self._tell(callback, hook, **arguments)

    def _tell(self, callback: Callback, hook: str, **arguments: Any) -> None:
        if callback.rebuilds:
            self._owing = True
        elif self._owing:
            self.flush()
        try:
            getattr(callback, hook)(**arguments)
        except Exception as error:
            raise _blame(callback, hook, error) from error

    def flush(self) -> None:
        """Let what files lack be written."""
        if self._owing:
            for callback in self.callbacks:
                if callback.rebuilds:
                    self._tell(callback, "flush")
            self._owing = False

    def states(self) -> dict[str, bytes]:
        """The states of those callbacks that have one, pickled, by their place in the list and their class."""
        import cloudpickle

        found = {}
        for key, callback in self._named():
            try:
                state = callback.get_state()
                if state is not None:
                    found[key] = cloudpickle.dumps(state)
            except Exception as error:
                raise _blame(callback, "get_state", error) from error
        return found

    def set_states(self, states: Mapping[str, bytes]) -> None:
        """Give back what :meth:`states` has returned, to the callbacks that are still there."""
        for key, callback in self._named():
            if key in states:
                try:
                    callback.set_state(unpickling.loads(states[key]))
                except Exception as error:
                    raise _blame(callback, "set_state", error) from error

    def _named(self) -> list[tuple[str, Callback]]:
        return [(f"{place} {type(callback).__name__}", callback) for place, callback in enumerate(self._others)]

    def _introduce(self, iteration: int, trials: Trials, trial: Trial) -> None:
        """A driver that took over has not seen the trial start: to the user's callbacks it starts now."""
        if self._others and trial.trial_id not in self._introduced:
            self._introduced.add(trial.trial_id)
            self._call(self._others, "on_trial_start", iteration=iteration, trials=trials, trial=trial)

    def setup(self, **info: Any) -> None:
        self._call(self.callbacks, "setup", **info)

    def on_step_begin(self, iteration: int, trials: Trials) -> None:
        self._call(self.callbacks, "on_step_begin", iteration=iteration, trials=trials)

    def on_step_end(self, iteration: int, trials: Trials) -> None:
        self._call(self.callbacks, "on_step_end", iteration=iteration, trials=trials)

    def on_trial_start(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._introduced.add(trial.trial_id)
        self._call(self.callbacks, "on_trial_start", iteration=iteration, trials=trials, trial=trial)

    def on_trial_restore(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._introduce(iteration, trials, trial)
        self._call(self.callbacks, "on_trial_restore", iteration=iteration, trials=trials, trial=trial)

    def on_trial_save(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._introduce(iteration, trials, trial)
        self._call(self.callbacks, "on_trial_save", iteration=iteration, trials=trials, trial=trial)

    def on_trial_result(self, iteration: int, trials: Trials, trial: Trial, result: Mapping[str, Any]) -> None:
        """Users' callbacks get a copy each: what they do to it changes nothing. Our own loggers only read."""
        self._introduce(iteration, trials, trial)
        for callback, reads in self._hearers:
            own = result if reads else copied(result)
            self._tell(callback, "on_trial_result", iteration=iteration, trials=trials, trial=trial, result=own)

    def on_trial_complete(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._introduced.discard(trial.trial_id)
        self._call(self.callbacks, "on_trial_complete", iteration=iteration, trials=trials, trial=trial)

    def on_trial_recover(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._call(self.callbacks, "on_trial_recover", iteration=iteration, trials=trials, trial=trial)

    def on_trial_error(self, iteration: int, trials: Trials, trial: Trial) -> None:
        self._introduced.discard(trial.trial_id)
        self._call(self.callbacks, "on_trial_error", iteration=iteration, trials=trials, trial=trial)

    def on_checkpoint(self, iteration: int, trials: Trials, trial: Trial, checkpoint: Checkpoint | None) -> None:
        arguments = {"iteration": iteration, "trials": trials, "trial": trial, "checkpoint": checkpoint}
        self._call(self.callbacks, "on_checkpoint", **arguments)

    def on_experiment_end(self, trials: Trials) -> None:
        self._call(self.callbacks, "on_experiment_end", trials=trials)

    def rebuild(self, trial: Trial, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let the callbacks that make files start those of ``trial`` afresh, with exactly these results."""
        trial.learn(rows)
        for callback, reads in self._hearers:
            if callback.rebuilds:
                self._tell(callback, "on_trial_start", iteration=0, trials=(trial,), trial=trial)
                for row in rows:
                    own = row if reads else copied(row)
                    self._tell(callback, "on_trial_result", iteration=0, trials=(trial,), trial=trial, result=own)
        self.flush()

    def rebuilt(self, trial: Trial, failed: bool) -> None:
        """Call after :meth:`rebuild` of a finished trial: lets those callbacks complete its files."""
        hook = "on_trial_error" if failed else "on_trial_complete"
        mine = [c for c in self.callbacks if c.rebuilds]
        self._call(mine, hook, iteration=0, trials=(trial,), trial=trial)

    def close(self) -> None:
        """Let every callback close, whatever one of them raises."""
        failures: list[TuneError] = []
        for callback in self.callbacks:
            try:
                self._call([callback], "close")
            except TuneError as error:
                failures.append(error)
        if failures:
            raise failures[0]


def _blame(callback: Callback, hook: str, error: Exception) -> TuneError:
    """The error as a TuneError that says where, and that is an instance of its own class as well."""
    name = type(callback).__name__
    text = f"Callback {name} failed in {hook}: {type(error).__name__}: {error}. Mend or remove {name}."
    return as_instance_of(text, type(error))
