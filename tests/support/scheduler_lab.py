"""Trials as values, and a small world that asks a scheduler as the engine does: for tests of schedulers alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hpctune.model.decisions import Continue, Decision, Pause, Stop
from hpctune.model.resources import Resources
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers import SchedulerPolicy

Loss = Callable[[int, int], float]
"""(trial, iteration) -> loss."""


def trial(index: int, phase: Phase = Phase.RUNNING) -> Trial:
    return replace(Trial(f"t{index}", index, f"t{index}", f"t{index}", "", {}, {}, Resources(), 0.0), phase=phase)


class World:
    """``trials`` trials, ``slots`` of which run at a time. One report, failure or end at a time, in an order drawn from
    ``seed``, until all is over, or nothing can happen any more.

    ``limit``: the searcher gives no new trial while so many are not over (paused ones included). ``fails``, ``ends``,
    ``preempted``, ``alone``: the chance of each report that instead the trial fails, ends after it, loses its job, or
    finds no driver at its milestone.
    """

    def __init__(
        self, scheduler: SchedulerPolicy, trials: int, slots: int, loss: Loss, seed: int = 0, **chances: float
    ):
        self.scheduler, self.slots, self.loss, self.rng = scheduler, slots, loss, random.Random(seed)
        self.wanted, self.limit = trials, int(chances.pop("limit", trials))
        self.chance = {name: chances.pop(name, 0.0) for name in ("fails", "ends", "preempted", "alone")}
        assert not chances
        self.trials: dict[str, Trial] = {}
        self.exhausted = False
        self.stopped: dict[str, int] = {}
        """Trials that the scheduler has stopped: at which iteration."""
        self.reasons: dict[str, str] = {}
        self.pauses = 0

    def run(self, longest: int = 100_000) -> World:
        for _ in range(longest):
            self.admit()
            running = self.in_phase(Phase.RUNNING)
            if not running:
                return self
            self.step(self.rng.choice(running))
        raise AssertionError(f"no end after {longest} steps")

    def in_phase(self, *phases: Phase) -> list[Trial]:
        return [t for t in self.trials.values() if t.phase in phases]

    @property
    def over(self) -> bool:
        return self.exhausted and all(t.phase.final for t in self.trials.values())

    def lengths(self) -> list[int]:
        return [t.last_iteration for t in self.trials.values()]

    # -- places ---------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        while len(self.in_phase(Phase.RUNNING)) < self.slots:
            waiting = self.in_phase(Phase.PENDING, Phase.PAUSED)
            chosen = self.scheduler.choose(waiting, idle=False) if waiting else None
            if chosen is None and self.new():
                continue
            if chosen is None and waiting:
                chosen = self.scheduler.choose(waiting, idle=True)
            if chosen is None:
                if self.exhausted and not self.in_phase(Phase.RUNNING):
                    for t in waiting:
                        self.end(t, Phase.TERMINATED, "stranded")
                return
            assert self.trials[chosen] in waiting
            self.put(self.trials[chosen], phase=Phase.RUNNING)

    def new(self) -> bool:
        if self.exhausted or any(t.phase is Phase.PENDING for t in self.trials.values()):
            return False
        if len(self.trials) == self.wanted:
            self.exhausted = True
            self.scheduler.on_search_exhausted()
            self.obey()
            return True
        if sum(not t.phase.final for t in self.trials.values()) >= self.limit:
            return False
        made = trial(len(self.trials), Phase.PENDING)
        self.trials[made.trial_id] = made
        self.scheduler.on_trial_add(made)
        self.obey()
        return True

    # -- what trials do -------------------------------------------------------------------------------------------

    def step(self, t: Trial) -> None:
        lot = self.rng.random()
        for name in ("fails", "preempted"):
            lot -= self.chance[name]
            if lot < 0:
                self.put(t, phase=Phase.PENDING) if name == "preempted" else self.end(t, Phase.ERROR, "fails")
                return
        milestone = self.scheduler.milestone(t)
        row = {"training_iteration": t.last_iteration + 1, "loss": self.loss(t.index, t.last_iteration + 1)}
        t = self.put(t, last_iteration=t.last_iteration + 1, last=row)
        decision = self.scheduler.on_trial_result(t, row)
        self.apply(t.trial_id, decision)
        self.obey()
        if self.trials[t.trial_id].phase is not Phase.RUNNING:
            told = f"{decision} at {row}, and the milestone was {milestone}"
            assert milestone is not None, told
            assert 0 <= row["training_iteration"] - milestone < 1, told
            return
        if self.rng.random() < self.chance["ends"]:
            self.end(self.trials[t.trial_id], Phase.TERMINATED, "returned")
        elif row["training_iteration"] == milestone and self.rng.random() < self.chance["alone"]:
            self.put(self.trials[t.trial_id], phase=Phase.PAUSED)

    def obey(self) -> None:
        for trial_id, decision in self.scheduler.decisions_on_others():
            self.apply(trial_id, decision)

    def apply(self, trial_id: str, decision: Decision) -> None:
        t = self.trials[trial_id]
        assert not t.phase.final, f"{decision} on {trial_id}, which is over"
        match decision:
            case Continue():
                assert t.phase is Phase.RUNNING
            case Pause():
                assert t.phase is Phase.RUNNING
                self.pauses += 1
                self.put(t, phase=Phase.PAUSED)
            case Stop(reason):
                self.stopped[trial_id] = t.last_iteration
                self.end(t, Phase.TERMINATED, reason)
            case _:
                raise AssertionError(decision)

    def end(self, t: Trial, phase: Phase, reason: str) -> None:
        t = self.put(t, phase=phase)
        self.reasons[t.trial_id] = reason
        if phase is Phase.ERROR:
            self.scheduler.on_trial_error(t)
        else:
            self.scheduler.on_trial_complete(t, t.last)
        self.obey()

    def put(self, t: Trial, **changes: Any) -> Trial:
        self.trials[t.trial_id] = replace(t, **changes)
        return self.trials[t.trial_id]


def rows(iteration: float, loss: float | None = None) -> Mapping[str, Any]:
    row: dict[str, Any] = {"training_iteration": iteration}
    return row if loss is None else {**row, "loss": loss}
