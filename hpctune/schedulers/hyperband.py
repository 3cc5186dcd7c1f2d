"""Synchronous HyperBand.

Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 2018.
The sizes of brackets and the order in which they are filled are Ray Tune's: it rounds up where the paper's algorithm 1
rounds down. The rungs are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.halving import Bracket, Member, Rung
from hpctune.schedulers.metric import ITERATION, MetricScheduler, positive

_CLOSE = 1e-9
"""Relative tolerance for what floating point makes of whole numbers."""


class HyperBandScheduler(MetricScheduler):
    """Successive halving in brackets: at each rung a trial waits, paused and without a job, for the others of its
    bracket; then the best ``1 / reduction_factor`` go on to the next rung, and the others are stopped.

    - ``time_attr``: what measures a trial's progress. A trial is paused at its first report at or past a rung.
    - ``max_t``: the last rung of every bracket; trials end there, unless ``stop_last_trials`` is False.
    - ``reduction_factor``: eta.

    Trials fill brackets in the order in which they are made: first the smallest, whose few trials run to ``max_t``
    without any halving, at last the largest, which begins with ``eta**s_max`` trials; then the next round of brackets
    begins. A trial that ends early leaves its bracket, and its place stays empty. A bracket that is not full waits for
    more trials, until the searcher has no more, or gives none while every trial waits.
    """

    synchronous = True

    def __init__(
        self,
        time_attr: str = ITERATION,
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
        *,
        reward_attr: str | None = None,
    ) -> None:
        positive("max_t", max_t, above=1, least=True)
        positive("reduction_factor", reduction_factor, above=1)
        if math.isinf(max_t) or math.isinf(reduction_factor):
            raise UsageError(f"max_t and reduction_factor must be finite, not {max_t!r} and {reduction_factor!r}.")
        self.max_t, self.reduction_factor, self.stop_last_trials = max_t, reduction_factor, bool(stop_last_trials)
        super().__init__(time_attr, metric, mode, reward_attr)

    def _reset(self) -> None:
        super()._reset()
        self._round = self._order(bracket_table(self.max_t, self.reduction_factor))
        self._brackets: list[Bracket] = []
        self._bracket_of: dict[str, Bracket] = {}
        self._num_stopped = 0
        self._others: list[tuple[str, Decision]] = []

    def _order(self, table: list[list[Rung]]) -> list[list[Rung]]:
        """In which order brackets are filled, given all from the smallest."""
        return table

    # -- what happens ---------------------------------------------------------------------------------------------

    def on_trial_add(self, trial: Trial) -> None:
        """Put the trial in the newest bracket, or open another."""
        super().on_trial_add(trial)
        if not self._brackets or self._brackets[-1].closed:
            self._brackets.append(Bracket(self._round[len(self._brackets) % len(self._round)]))
        self._brackets[-1].add(trial.trial_id)
        self._bracket_of[trial.trial_id] = self._brackets[-1]

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        """Pause at a rung until the whole bracket is there; what follows for the others is in decisions_on_others.

        A result without the metric decides nothing but the end: the rung is looked at with the first one that has it.
        """
        time, score = self._read(row)
        bracket = self._bracket_of[trial.trial_id]
        if time is None or trial.trial_id in bracket.dropped:
            return CONTINUE
        member = bracket.member(trial.trial_id)
        if member.held:  # it was taken up although its bracket was not full: no more trials are to be awaited
            bracket.closed = True
            self._halve(bracket)
        if trial.trial_id not in bracket.dropped:
            member.take(time, score)
            self._judge(bracket, member)
        return self._own(bracket, trial.trial_id, member)

    def _judge(self, bracket: Bracket, member: Member) -> None:
        if bracket.last:
            if self.stop_last_trials and member.time >= bracket.rung.level:
                bracket.drop(member.trial_id)
        elif member.score is not None and member.time >= bracket.rung.level and not member.held:
            member.held = True
            self._halve(bracket)

    def _own(self, bracket: Bracket, trial_id: str, member: Member) -> Decision:
        """The decision on the trial that has just reported."""
        if trial_id not in bracket.dropped:
            if not member.held or (member.ahead and member.time < bracket.rungs[bracket.at + 1].level):
                return CONTINUE
            level = f"{bracket.rung.level:g}"
            return Pause(f"rung {level}: {bracket.at_rung} of {len(bracket.members)} trials are there")
        mine = [decision for other, decision in self._others if other == trial_id]
        self._others = [pair for pair in self._others if pair[0] != trial_id]
        return mine[0] if mine else Stop(f"{self.time_attr} has reached {bracket.rung.level:g}, the last rung")

    def _halve(self, bracket: Bracket) -> None:
        """Go to the next rung, as often as everybody is at this one."""
        while bracket.complete and not bracket.last:
            level = bracket.rung.level
            for member in bracket.halve():
                self._num_stopped += 1
                value = self._metric_value(member.score if member.score is not None else math.nan)
                best = f"the best {bracket.rung.trials}" if bracket.rung.trials > 1 else "the best one"
                stop = Stop(f"rung {level:g}: {self.metric}={value:.4g} is not among {best}")
                self._others.append((member.trial_id, stop))
            if bracket.last:
                self._end(bracket)

    def _end(self, bracket: Bracket) -> None:
        """On the last rung no trial waits: those that are there already are over, or go on if trials may."""
        for member in list(bracket.members.values()):
            if self.stop_last_trials and member.held:
                bracket.drop(member.trial_id)
                reason = f"{self.time_attr} has reached {bracket.rung.level:g}, the last rung"
                self._others.append((member.trial_id, Stop(reason)))
            member.held = False

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        """The bracket goes on without it."""
        self._remove(trial)
        super().on_trial_complete(trial, row)

    def on_trial_error(self, trial: Trial) -> None:
        """The bracket goes on without it."""
        self._remove(trial)

    def _remove(self, trial: Trial) -> None:
        bracket = self._bracket_of[trial.trial_id]
        bracket.remove(trial.trial_id)
        self._halve(bracket)

    def on_search_exhausted(self) -> None:
        """The bracket that is not full goes on with what it has."""
        for bracket in self._brackets[-1:]:
            bracket.closed = True
            self._halve(bracket)

    # -- questions ------------------------------------------------------------------------------------------------

    def decisions_on_others(self) -> Sequence[tuple[str, Decision]]:
        """Stops of those that wait and are not among the best of their rung."""
        others, self._others = self._others, []
        return others

    def choose(self, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        """The oldest that does not wait at a rung.

        If all trials wait and no more come, the best of the bracket that is not full: it goes on with what it has.
        """
        for trial in waiting:
            resumed = trial.phase is Phase.PENDING and trial.leave is None
            if resumed or not self._bracket_of[trial.trial_id].waits(trial.trial_id):
                return trial.trial_id
        if not idle or self._on_the_way():
            return None
        ids = {trial.trial_id for trial in waiting}
        return next((m.trial_id for m in self._next_best() if m.trial_id in ids), None)

    def _on_the_way(self) -> bool:
        return any(not member.held for bracket in self._brackets for member in bracket.members.values())

    def _next_best(self) -> Iterator[Member]:
        for bracket in self._brackets:
            if not (bracket.closed or bracket.last):
                yield from reversed(bracket.ranked()[-bracket.rungs[bracket.at + 1].trials :])

    def end(self, trial: Trial) -> float | None:
        """``max_t``, unless the last trials go on."""
        return self.max_t if self.stop_last_trials else None

    def milestone(self, trial: Trial) -> float | None:
        """The next rung of its bracket."""
        bracket = self._bracket_of[trial.trial_id]
        passed = bracket.member(trial.trial_id).time if trial.trial_id in bracket.members else 0.0
        rungs = bracket.rungs if self.stop_last_trials else bracket.rungs[:-1]
        return next((rung.level for rung in rungs[bracket.at :] if rung.level > passed), None)

    def debug_string(self) -> str:
        """The brackets of each round: how many trials they still have, of how many, and the rung these go to."""
        lines = [f"Using HyperBand: num_stopped={self._num_stopped} total_brackets={len(self._brackets)}"]
        for index, bracket in enumerate(self._brackets):
            if index % len(self._round) == 0:
                lines.append(f"Round #{index // len(self._round)}:")
            size, left = bracket.rungs[0].trials, len(bracket.members)
            lines.append(
                f"  Bracket(Max Size (n)={bracket.rung.trials}, Milestone (r)={bracket.rung.level:g}): "
                f"{left} of {bracket.added} trials left, {bracket.at_rung} there"
                + ("" if bracket.closed else f", {size - bracket.added} to come")
            )
        return "\n".join(lines)


def bracket_table(max_t: float, eta: float) -> list[list[Rung]]:
    """The brackets of one round, from ``s = 0``; each as its rungs: how many trials, and how far they go.

    Bracket ``s`` begins with ``ceil((s_max + 1) / (s + 1) * eta**s)`` trials at ``max_t / eta**s``, rounded down, and
    ends at ``max_t``; one whose first rung would be below 1 is left out.
    """
    count = round(math.log(max_t) / math.log(eta)) + 1
    levels = [max_t, *(_down(max_t * eta**-s) for s in range(1, count))]
    table = []
    for s in range(count):
        trials = _up(count / (s + 1) * eta**s)
        rungs = [Rung(trials, levels[s])]
        for at in reversed(range(s)):
            trials = _up(trials / eta)
            rungs.append(Rung(trials, levels[at]))
        if levels[s] >= 1:
            table.append(rungs)
    return table


def _up(value: float) -> int:
    return math.ceil(value * (1 - _CLOSE))


def _down(value: float) -> int:
    return math.floor(value * (1 + _CLOSE))
