"""Repair of a journal with holes. Pure.

After a hole each fact is held against the state: if it presupposes others that are lost, those are put back, from
what run files, ``result.json`` and control files still hold, or, if nothing does, as the least that must have
happened. A fact that makes no sense even then is left out (it stays in quarantine with the old journal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hpctune.core.evolve import iteration_of
from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable, classify_row
from hpctune.model import events as e
from hpctune.model.ids import RunKey, trial_id
from hpctune.model.jobs import JobState
from hpctune.model.records import ResultRow
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial

LOST = "lost from the journal"
_ENDS = (e.RunEnded, e.JobEnded, e.RunGivenUp, e.RetryScheduled, e.TrialPaused, e.TrialEnded)
"""Events after which an attempt has no more results."""


class Evidence(Protocol):
    """What is known of an experiment from elsewhere than its journal."""

    def added(self, index: int, identity: str) -> e.TrialAdded | None:
        """The trial with this number."""
        ...

    def finalized(self, trial: Trial) -> bool:
        """Whether the trial's directory looks as that of a trial does that is over and done with."""
        ...

    def reported(self, trial: Trial, run: RunKey | None) -> Sequence[ResultRow]:
        """What a run has reported as its run file says (None: every counted row that ``result.json`` has, with ``seq``
        0), in order."""
        ...


@dataclass(slots=True)
class Mended:
    """``lines``: for each part of the journal its facts, those put back included. ``restored``: how many those are;
    ``left_out``: the facts that made no sense; ``lost_trials``: ids of trials of which nothing is left."""

    parts: list[list[e.Recorded]] = field(default_factory=list)
    restored: int = 0
    left_out: list[e.Recorded] = field(default_factory=list)
    lost_trials: dict[str, None] = field(default_factory=dict)


class JournalRepairer:
    """Goes through the facts, part by part, and inserts what is missing."""

    def __init__(self, spec: ExperimentSpec, evidence: Evidence) -> None:
        self._state, self._evidence = ExperimentState(spec), evidence
        self._out: list[e.Recorded] = []
        self._counted: set[tuple[str, int, int]] = set()
        """Results that count, by trial, attempt and iteration: a trial may go back behind some of them."""
        self.mended = Mended()

    def part(self, facts: Sequence[e.Recorded]) -> None:
        """The next part (a segment of the journal), as far as it can be read."""
        self._out = []
        self.mended.parts.append(self._out)
        for recorded in facts:
            self._take(recorded)

    def finish(self) -> Mended:
        """What was lost at the end: trials, results that no run file holds any more, and that a trial was over."""
        at = self._state.last_at
        if not self.mended.parts:
            self.part([])
        while found := self._evidence.added(len(self._state.trials), self._next_id()):
            self._insert(found, at)
        for trial in list(self._state.active_trials()):
            attempt = trial.attempt
            if attempt is not None:
                run = trial.run or RunKey(trial.trial_id, attempt.number, 0)  # of whose beginning nothing may be left
                if self._evidence.reported(trial, run):
                    continue  # it speaks for itself
            over = self._evidence.finalized(trial)
            for row in self._rows_after(trial) if over or attempt is not None else ():
                self._run(row.run, row.row, at)
                self._results(trial.trial_id, at)
            if over:
                self._over(trial.trial_id, at)
                self._insert(e.TrialEnded(trial.trial_id, Phase.TERMINATED, f"its end was {LOST}"), at)
        return self.mended

    def _next_id(self) -> str:
        return trial_id(self._state.spec.experiment_id, len(self._state.trials))

    def _rows_after(self, trial: Trial) -> list[ResultRow]:
        current = trial.attempt.number if trial.attempt is not None else 0
        return [r for r in self._lost(trial) if r.run.attempt >= current]

    def _lost(self, trial: Trial) -> Iterator[ResultRow]:
        """Results behind the trial's last that ``result.json`` has, and the journal has not."""
        for row in self._evidence.reported(trial, None):
            at = iteration_of(row.row, 0)
            if at > trial.last_iteration and (trial.trial_id, row.run.attempt, at) not in self._counted:
                yield row

    # -- one fact -----------------------------------------------------------------------------------------------------

    def _take(self, recorded: e.Recorded) -> None:
        event, at = recorded.event, recorded.at
        if isinstance(event, e.TrialAdded):
            if event.trial_id not in self._state.trials and self._trials_before(event.index, at):
                self._keep(recorded)
            else:
                self.mended.left_out.append(recorded)
            return
        if isinstance(event, e.ExperimentEvent):
            self._keep(recorded)
            return
        identity = e.trial_id_of(event)
        if not self._known(identity, at):
            self.mended.left_out.append(recorded)
            return
        if isinstance(event, _ENDS):
            self._results(identity, at)
        if not self._fits(event):
            self._prepare(identity, event, at)
        if acceptable(self._trial(identity), event):
            self._keep(recorded)
        else:
            self.mended.left_out.append(recorded)

    def _fits(self, event: e.TrialEvent) -> bool:
        """It is acceptable, and nothing before it is missing."""
        trial = self._state.trials[e.trial_id_of(event)]
        if isinstance(event, e.ResultReported) and trial.attempt is not None and event.seq > trial.attempt.seq + 1:
            return False
        decided = isinstance(event, (e.RetryScheduled, e.TrialPaused, e.TrialEnded))
        if decided and trial.attempt is not None and not trial.attempt.over:
            return False
        return acceptable(trial, event)

    def _keep(self, recorded: e.Recorded) -> None:
        self._state.apply(recorded)
        self._out.append(recorded)
        event = recorded.event
        if isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
            self._counted.add((event.run.trial_id, event.run.attempt, iteration_of(event.row, 0)))

    def _insert(self, event: e.TrialAdded | e.TrialEvent, at: float) -> bool:
        """Insert a fact if the state accepts it."""
        if not isinstance(event, e.TrialAdded) and not acceptable(self._trial(e.trial_id_of(event)), event):
            return False
        self._keep(e.Recorded(at, event))
        self.mended.restored += 1
        return True

    # -- facts that a fact presupposes --------------------------------------------------------------------------------

    def _trials_before(self, index: int, at: float) -> bool:
        """Every trial with a smaller number is there, or put back."""
        for number in range(len(self._state.trials), index):
            identity = trial_id(self._state.spec.experiment_id, number)
            found = self._evidence.added(number, identity)
            if found is None:
                self.mended.lost_trials[identity] = None
                return False
            self._insert(found, at)
        return True

    def _known(self, identity: str, at: float) -> bool:
        if identity in self._state.trials:
            return True
        number = identity.rpartition("_")[2]
        if number.isdigit() and self._trials_before(int(number) + 1, at) and identity in self._state.trials:
            return True
        self.mended.lost_trials[identity] = None
        return False

    def _prepare(self, identity: str, event: e.Event, at: float) -> None:
        match event:
            case e.SubmitRequested():
                self._attempts_before(identity, event.attempt, at)
            case e.SubmitAcknowledged() | e.SubmitRefused() | e.SubmitUnanswered() | e.AttemptRevoked():
                self._attempt(identity, event.attempt, at)
            case e.JobChanged() | e.JobEnded() | e.RunGivenUp():
                self._attempt(identity, event.attempt, at)
            case e.RunStarted():
                self._attempt(identity, event.run.attempt, at)
            case e.ResultReported():
                self._run(event.run, event.row, at)
                self._results(identity, at, event)
            case e.RunEnded():
                self._run(event.run, {}, at)
                self._results(identity, at)  # its run was not known before
            case e.RetryScheduled() | e.TrialPaused() | e.TrialEnded():
                self._over(identity, at)
            case e.TrialFinalized() | e.TrialReopened():
                self._over(identity, at)
                self._insert(e.TrialEnded(identity, Phase.TERMINATED, f"its end was {LOST}"), at)
            case e.TrialResumed():
                self._over(identity, at)
                self._insert(e.TrialPaused(identity, f"its pause was {LOST}"), at)
            case _:
                pass

    def _trial(self, identity: str) -> Trial:
        return self._state.trials[identity]

    def _over(self, identity: str, at: float) -> None:
        """The current attempt has ended."""
        attempt = self._trial(identity).attempt
        if attempt is not None and not attempt.over:
            self._results(identity, at)
            self._insert(e.JobEnded(identity, attempt.number, JobState.LOST, f"its end was {LOST}"), at)

    def _attempts_before(self, identity: str, number: int, at: float) -> None:
        """The trial waits for its attempt ``number``."""
        for _ in range(2 * number + 2):
            trial = self._trial(identity)
            if trial.phase is Phase.PENDING and trial.attempts >= number - 1:
                return
            if trial.phase.live:
                self._over(identity, at)
                done = self._insert(e.RetryScheduled(identity, f"its end was {LOST}", counts=False), at)
            elif trial.phase is Phase.PAUSED:
                done = self._insert(e.TrialResumed(identity), at)
            elif trial.phase.final:
                done = self._insert(e.TrialReopened(identity, restart=False), at)
            else:
                done = self._insert(e.SubmitRequested(identity, trial.attempts + 1, trial.restore), at)
            if not done:
                return

    def _attempt(self, identity: str, number: int, at: float) -> None:
        """``number`` is the trial's current attempt."""
        attempt = self._trial(identity).attempt
        if attempt is None or attempt.number != number:
            self._attempts_before(identity, number, at)
            self._insert(e.SubmitRequested(identity, number, self._trial(identity).restore), at)

    def _run(self, run: RunKey, row: Mapping[str, Any], at: float) -> None:
        """``run`` owns the attempt. ``row``: one of its results."""
        self._attempt(run.trial_id, run.attempt, at)
        attempt = self._trial(run.trial_id).attempt
        if attempt is not None and attempt.restart < run.restart:
            job_id, host = str(row.get("job_id", attempt.job_id or "")), str(row.get("hostname", ""))
            self._insert(e.RunStarted(run, job_id, host, 0, str(row.get("node_list", ""))), at)

    # -- results ------------------------------------------------------------------------------------------------------

    def _results(self, identity: str, at: float, upto: e.ResultReported | None = None) -> None:
        """Put back the results of the current attempt that are lost, up to the one that is at hand."""
        trial = self._trial(identity)
        if trial.attempt is None or trial.attempt.over or trial.run is None:
            return
        end = upto.seq if upto is not None else None
        for row in self._lost_rows(trial, trial.run, upto):
            attempt = self._trial(identity).attempt
            if attempt is None:
                return
            numbered = row if row.seq else ResultRow(trial.run, attempt.seq + 1, row.row, row.checkpoint)
            if end is not None and numbered.seq >= end:
                return
            self._insert(classify_row(self._trial(identity), numbered, self._state.spec.checkpoint), at)

    def _lost_rows(self, trial: Trial, run: RunKey, upto: e.ResultReported | None) -> Iterator[ResultRow]:
        assert trial.attempt is not None
        kept = self._evidence.reported(trial, run)
        if kept:
            yield from (r for r in kept if r.seq > trial.attempt.seq)
            return
        before = iteration_of(upto.row, 0) if upto is not None else None
        for row in self._lost(trial):
            same = row.row.get("attempt", run.attempt) == run.attempt
            if same and (before is None or iteration_of(row.row, 0) < before):
                yield row


def mend(spec: ExperimentSpec, parts: Sequence[Callable[[], Sequence[e.Recorded]]], evidence: Evidence) -> Mended:
    """The facts of ``parts``, with the missing facts inserted."""
    mender = JournalRepairer(spec, evidence)
    for facts in parts:
        mender.part(facts())
    return mender.finish()
