"""How long the jobs of trials were held, computed from the events: what a budget is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.model.resources import Resources


@dataclass(frozen=True, slots=True)
class Held:
    """A job that is held: ``attempt`` of a trial, since ``begin`` (Unix seconds), with ``resources``."""

    attempt: int
    begin: float
    resources: Resources


class HeldTime:
    """``longest_s``: seconds that the longest of the trials that are over held its jobs, all attempts together.

    Only :meth:`apply` changes it. An attempt holds its job from the start of the job, if that is known, else from the
    claim of its run, until its end. In a pool its job is its assignment: what workers hold besides is not counted here.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.live: dict[str, Held] = {}
        self._before: dict[str, float] = {}
        """Seconds of earlier attempts of trials that are not over."""
        self._ended: dict[str, tuple[Resources, float]] = {}
        """Seconds of all attempts that are over, by the text of their resources."""

    def copy(self) -> HeldTime:
        """Another one that is equal."""
        made = HeldTime()
        made.longest_s, made.live = self.longest_s, dict(self.live)
        made._before, made._ended = dict(self._before), dict(self._ended)
        return made

    def apply(self, event: e.TrialEvent, at: float, resources: Resources) -> None:
        """Use an event that was recorded at ``at``. ``resources``: those of its trial before it."""
        match event:
            case e.RunStarted():
                begin = event.job_began or event.claimed_at or at
                held = self.live.get(event.run.trial_id)
                if held is not None and held.attempt == event.run.attempt:
                    begin = min(begin, held.begin)
                self.live[event.run.trial_id] = Held(event.run.attempt, min(begin, at), resources)
            case e.JobChanged() if event.state is JobState.RUNNING:
                self.live.setdefault(event.trial_id, Held(event.attempt, at, resources))
            case e.JobChanged() if event.state is JobState.PENDING:
                self._end(event.trial_id, at)
            case e.RunEnded():
                self._end(event.run.trial_id, min(event.left_at or at, at))
            case e.JobEnded() | e.RunGivenUp() | e.AttemptRevoked():
                self._end(event.trial_id, at)
            case e.TrialEnded():
                self._end(event.trial_id, at)
                self.longest_s = max(self.longest_s, self._before.pop(event.trial_id, 0.0))

    def of(self, trial_id: str, now: float) -> float:
        """Seconds that a trial that is not over has held its jobs so far."""
        held = self.live.get(trial_id)
        return self._before.get(trial_id, 0.0) + (max(now - held.begin, 0.0) if held is not None else 0.0)

    def totals(self, now: float) -> Iterator[tuple[Resources, float]]:
        """Seconds held so far, by resources."""
        yield from self._ended.values()
        for held in self.live.values():
            yield held.resources, max(now - held.begin, 0.0)

    def _end(self, trial_id: str, at: float) -> None:
        held = self.live.pop(trial_id, None)
        if held is None:
            return
        seconds, kind = max(at - held.begin, 0.0), repr(held.resources)
        self._before[trial_id] = self._before.get(trial_id, 0.0) + seconds
        self._ended[kind] = (held.resources, self._ended.get(kind, (held.resources, 0.0))[1] + seconds)
