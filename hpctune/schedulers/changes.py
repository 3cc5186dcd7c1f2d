"""What PB2 learns from: how the score of each trial has changed over its intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observation:
    """The score (greater is better) that a trial had at a time, with these hyperparameters before it."""

    trial_id: str
    time: float
    values: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Change:
    """From one observation of a trial to the next with the same hyperparameters."""

    trial_id: str
    time: float
    """At its end."""
    before: float
    """The score at its beginning."""
    after: float
    values: tuple[float, ...]
    rate: float
    """By how much the score has grown for each unit of time: what the model predicts."""


def changes(observed: Sequence[Observation]) -> list[Change]:
    """The changes in the order of time. The trial that takes over from another has the other's score at its start."""
    found: list[Change] = []
    last: dict[tuple[str, tuple[float, ...]], Observation] = {}
    for now in sorted(observed, key=lambda o: o.time):
        key = (now.trial_id, now.values)
        then = last.get(key)
        if then is not None and now.time > then.time:
            rate = (now.score - then.score) / (now.time - then.time)
            found.append(Change(now.trial_id, now.time, then.score, now.score, now.values, rate))
        last[key] = now
    return found
