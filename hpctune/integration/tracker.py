"""Base of the callbacks that pass results on to a tracker (W&B, MLflow, Comet, Aim).

The hooks, which the driver calls, only note what is new. A thread of its own delivers it, so a tracker that is slow or
down never delays the search. What a thread has in memory is bounded: beyond :data:`MAX_ROWS` rows it drops them, and
reads them from the journal when the tracker answers. Before the first row of a trial the tracker is asked how many
rows it has, and later ones follow: after a killed driver nothing is missing and nothing is there twice.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, overload

from hpctune.common.log import log
from hpctune.model.trial import Trial as TrialValue
from hpctune.output.callback import LoggerCallback, Trials
from hpctune.storage import atomic
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import counted_rows
from hpctune.trial import Trial

MAX_ROWS = 10_000
"""Rows that wait in memory, over all trials."""
READ_TOGETHER = 32
"""Trials whose rows are read from the journal at once."""
WAIT_VARIABLE, WAIT_S = "HPCTUNE_TRACKER_WAIT_S", 60.0
"""Seconds that a driver which leaves waits for what is still to be delivered."""
_FIRST_DELAY_S, _MAX_DELAY_S = 1.0, 60.0


@dataclass(slots=True)
class Work:
    """What one trial still has to deliver. ``target``: how many results it has."""

    trial: Trial
    value: TrialValue
    target: int = 0
    rows: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    fresh: bool = False
    """It has started from scratch; rows that the tracker already has are of an earlier life."""
    config: bool = False
    """Its configuration may have changed."""
    checkpoint: str | None = None
    """A checkpoint to be stored in the tracker."""
    ended: bool | None = None
    """Whether it failed, once it is over."""
    life: int = 1
    reached: int | None = None
    """How many rows the tracker has; None: not asked yet."""


class TrackerCallback(LoggerCallback):
    """Override the methods with an underscore: the thread calls them, one at a time. What they raise is told once, and
    tried again."""

    service: ClassVar[str] = ""
    """The tracker's name, for messages and for the file in which a trial's state is noted."""

    def __init__(self) -> None:
        self._delivery: Delivery | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_delivery": None}

    # -- what a tracker does --------------------------------------------------------------------------------------

    @abstractmethod
    def _open(self, trial: Trial, name: str) -> int:
        """How many rows of the run ``name`` the tracker already has."""

    @abstractmethod
    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        """Deliver a row; ``number`` counts from 1."""

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        """The configuration, before the first row and after a change."""

    def _checkpoint(self, trial: Trial, name: str, path: str) -> None:
        """Store a checkpoint."""

    @abstractmethod
    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        """The trial is over and all its rows are delivered."""

    def _close(self) -> None:
        """Let go of everything; runs that are not over may go on in a later driver."""

    def _wants_checkpoints(self) -> bool:
        return False

    # -- hooks: called by the driver ------------------------------------------------------------------------------

    def setup(self, *args: Any, **info: Any) -> None:
        self._delivery = Delivery(self)

    def on_step_begin(self, iteration: int, trials: Trials, **info: Any) -> None:
        delivery = self._running()
        if not delivery.seen:
            delivery.catch_up(trials)

    def log_trial_start(self, trial: Trial) -> None:
        self._running().note(trial, fresh=trial.value.results == 0, config=True)

    def log_trial_restore(self, trial: Trial) -> None:
        self._running().note(trial, config=True)

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        self._running().note(trial, row=result)

    def log_trial_save(self, trial: Trial) -> None:
        if self._wants_checkpoints() and trial.checkpoint is not None:
            self._running().note(trial, checkpoint=trial.checkpoint.path)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        self._running().note(trial, ended=failed)

    def on_experiment_end(self, trials: Trials, **info: Any) -> None:
        delivery = self._running()
        if not delivery.seen:
            delivery.catch_up(trials)

    def close(self) -> None:
        if self._delivery is not None:
            self._delivery.close()
            self._delivery = None

    def _running(self) -> Delivery:
        if self._delivery is None:
            self._delivery = Delivery(self)
        return self._delivery


class TrackerOfConfig(TrackerCallback):
    """A tracker whose settings are in the configurations of the trials: the loggers of Ray Tune before 1.4, for
    ``loggers=[...]``. The settings of the first trial hold."""

    settings: ClassVar[tuple[str, ...]] = ()
    """The keys of a configuration that are settings, and not logged."""
    _is_set = False

    @abstractmethod
    def _made(self, config: Mapping[str, Any]) -> TrackerCallback:
        """The tracker that a configuration asks for. Raises UsageError if it has no settings, or wrong ones."""

    def log_trial_start(self, trial: Trial) -> None:
        self._set(trial)
        super().log_trial_start(trial)

    def _open(self, trial: Trial, name: str) -> int:
        self._set(trial)  # a driver that takes over has started no trial
        return super()._open(trial, name)  # type: ignore[safe-super]

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        super()._config(trial, name, {key: value for key, value in config.items() if key not in self.settings})

    def _set(self, trial: Trial) -> None:
        if not self._is_set:
            made = vars(self._made(trial.config))
            vars(self).update({name: value for name, value in made.items() if name != "_delivery"}, _is_set=True)


class Delivery:
    """The thread that delivers, and what it has to do."""

    def __init__(self, tracker: TrackerCallback) -> None:
        self._tracker = tracker
        self._works: dict[str, Work] = {}
        self._todo: OrderedDict[str, None] = OrderedDict()
        self._changed = threading.Condition()
        self._rows = 0
        self._closing = self._told = self._failing = False
        self.seen = False
        """Trials of earlier drivers were looked at."""
        self._thread = threading.Thread(target=self._run, name=f"hpctune {tracker.service}", daemon=True)
        self._thread.start()

    def note(
        self,
        trial: Trial,
        row: Mapping[str, Any] | None = None,
        fresh: bool = False,
        config: bool = False,
        checkpoint: str | None = None,
        ended: bool | None = None,
    ) -> None:
        """Something is new. Returns at once."""
        with self._changed:
            work = self._works.get(trial.trial_id)
            if work is None or fresh:
                work = self._works[trial.trial_id] = Work(trial, trial.value, fresh=fresh, config=True)
            work.trial, work.value, work.target = trial, trial.value, trial.value.results
            if row is not None and self._rows < MAX_ROWS:
                self._rows += 1
                work.rows[work.target] = row
            work.config = work.config or config
            work.checkpoint = checkpoint or work.checkpoint
            work.ended = work.ended if ended is None else ended
            self._todo[trial.trial_id] = None
            self._changed.notify()

    def catch_up(self, trials: Trials) -> None:
        """Look at the trials of which an earlier driver may not have delivered everything."""
        self.seen = True
        for trial in trials:
            value = trial.value
            if value.results and note_of(trial, self._tracker.service).get("complete") != value.results:
                self.note(trial, ended=trial.status == Trial.ERROR if value.phase.final else None)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = _FIRST_DELAY_S
        while True:
            with self._changed:
                while not self._todo and not self._closing:
                    self._changed.wait()
                if not self._todo or (self._closing and self._failing):
                    break
                work = self._works[next(iter(self._todo))]
                del self._todo[work.trial.trial_id]
            try:
                self._deliver(work)
                self._failing, delay = False, _FIRST_DELAY_S
            except Exception as error:
                self._failing = True
                with self._changed:
                    self._todo[work.trial.trial_id] = None
                self._tell(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, timeout=delay)
                delay = min(2 * delay, _MAX_DELAY_S)
        try:
            self._tracker._close()
        except Exception as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            log.warning(
                f"hpctune: {self._tracker.service} does not take results: {type(error).__name__}: "
                f"{without_password(str(error))}. The search "
                "goes on, and what is missing is delivered later."
            )

    def _deliver(self, work: Work) -> None:
        tracker, trial = self._tracker, work.trial
        if work.reached is None:
            self._begin(work)
        assert work.reached is not None
        name = run_name(trial, work.life)
        with self._changed:
            target, value = work.target, work.value
            config, work.config = work.config, False
            checkpoint, work.checkpoint = work.checkpoint, None
            ended = work.ended
        try:
            if config:
                tracker._config(trial, name, value.config)
            while work.reached < target:
                number = work.reached + 1
                tracker._log(trial, name, number, self._row(work, number))
                work.reached = number
                self._drop(work, number)
            if checkpoint is not None and Path(checkpoint).is_dir():
                tracker._checkpoint(trial, name, checkpoint)
        except Exception:
            with self._changed:
                work.config = work.config or config
                work.checkpoint = work.checkpoint or checkpoint
            raise
        if ended is not None:
            tracker._end(trial, name, ended)
            write_note(
                trial, tracker.service, {**note_of(trial, tracker.service), "life": work.life, "complete": target}
            )
            with self._changed:
                if self._works.get(trial.trial_id) is work:
                    self._put_away(work, target, ended)

    def _put_away(self, work: Work, target: int, ended: bool) -> None:
        """The run has ended in the tracker. If something is new since, it is opened again."""
        if work.target == target and work.ended == ended and not work.config and work.checkpoint is None:
            del self._works[work.trial.trial_id]
            self._todo.pop(work.trial.trial_id, None)
        else:
            work.reached = None

    def _begin(self, work: Work) -> None:
        tracker, trial = self._tracker, work.trial
        work.life = int(note_of(trial, tracker.service).get("life", 1))
        reached = tracker._open(trial, run_name(trial, work.life))
        if work.fresh and reached:
            work.life += 1
            write_note(trial, tracker.service, {**note_of(trial, tracker.service), "life": work.life})
            reached = tracker._open(trial, run_name(trial, work.life))
        work.reached, work.fresh = reached, False

    def _row(self, work: Work, number: int) -> Mapping[str, Any]:
        with self._changed:
            row = work.rows.get(number)
        if row is None:
            self._read(work)
            row = work.rows[number]
        return row

    def _drop(self, work: Work, number: int) -> None:
        """Forget the rows up to ``number``."""
        with self._changed:
            for old in [n for n in work.rows if n <= number]:
                del work.rows[old]
                self._rows -= 1

    def _read(self, work: Work) -> None:
        """Read rows of this trial, and of others that may need it, from the journal."""
        with self._changed:
            others = [w for t in self._todo if (w := self._works[t]) is not work and len(w.rows) < w.target]
            wanted = {w.trial.trial_id: w for w in [work, *others[: READ_TOGETHER - 1]]}
        found = counted_rows(ExperimentPaths(Path(work.trial.local_experiment_path)), list(wanted))
        with self._changed:
            for trial_id, one in wanted.items():
                first = one.reached or 0
                for number, counted in enumerate(found[trial_id], 1):
                    if first < number <= one.target and number not in one.rows:
                        one.rows[number] = counted.row
                        self._rows += 1

    def close(self) -> None:
        """Deliver what can be delivered within the time; tell what remains."""
        limit = time.monotonic() + _wait_s()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(max(0.0, limit - time.monotonic()))
        late = len(self._todo)
        if late or self._thread.is_alive():
            log.warning(
                f"hpctune: {self._tracker.service} has not got all results ({max(late, 1)} trials are behind). They "
                "are in the experiment's directory: resume the experiment, and they are delivered."
            )


@overload
def without_password(text: str) -> str: ...
@overload
def without_password(text: str | None) -> str | None: ...
def without_password(text: str | None) -> str | None:
    """``text`` without the passwords of the URLs in it."""
    return None if text is None else re.sub(r"(\w://[^/\s:@]*):[^/\s]+@", r"\1@", text)


def run_name(trial: Trial, life: int) -> str:
    """The name of a trial's run in a tracker. A trial that was restarted from scratch gets a new one."""
    return trial.trial_id if life == 1 else f"{trial.trial_id}-{life}"


def _wait_s() -> float:
    try:
        return float(os.environ[WAIT_VARIABLE])
    except (KeyError, ValueError):
        return WAIT_S


def _note_path(trial: Trial, service: str) -> str:
    return trial.paths.at(f".tracker-{service.lower()}.json")


def note_of(trial: Trial, service: str) -> dict[str, Any]:
    """What was noted about a trial's delivery to a tracker, in its directory."""
    try:
        found = json.loads(Path(_note_path(trial, service)).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_note(trial: Trial, service: str, note: Mapping[str, Any]) -> None:
    """Note something, in place of what was noted before."""
    atomic.write(_note_path(trial, service), json.dumps(note))
