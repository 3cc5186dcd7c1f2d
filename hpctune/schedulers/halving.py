"""One bracket of successive halving: who is in it, who waits at the rung, and who goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Rung(NamedTuple):
    """How many trials go to ``level`` (a value of the time attribute)."""

    trials: int
    level: float


class Member:
    """A trial of a bracket: its newest time, its score, and whether it has come to the bracket's rung (``held``).

    One that was taken up there before the others came goes ``ahead``; the score at the rung stays, and ``newer`` is
    what it has reported since.
    """

    def __init__(self, trial_id: str) -> None:
        self.trial_id, self.time, self.held, self.ahead = trial_id, 0.0, False, False
        self.score: float | None = None
        self.newer: float | None = None

    def take(self, time: float, score: float | None) -> None:
        """A new result."""
        self.time, self.ahead = time, self.held
        if self.ahead:
            self.newer = score
        else:
            self.score = score

    def move(self, level: float) -> None:
        """It goes to the next rung, at ``level``."""
        if self.ahead:
            self.score = self.newer
        self.held, self.ahead = self.time >= level and self.score is not None, False


class Bracket:
    """The trials that are halved together. ``closed``: no more trials come to it."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs, self.at, self.added, self.closed = list(rungs), 0, 0, False
        self.members: dict[str, Member] = {}
        self.dropped: set[str] = set()
        """Told to stop, and not over yet."""

    @property
    def rung(self) -> Rung:
        """The rung to which the members go."""
        return self.rungs[self.at]

    @property
    def last(self) -> bool:
        """Whether that is the last one."""
        return self.at == len(self.rungs) - 1

    @property
    def at_rung(self) -> int:
        """How many members wait at the rung."""
        return sum(member.held for member in self.members.values())

    @property
    def complete(self) -> bool:
        """Whether all that will ever come to this rung are there."""
        return self.closed and bool(self.members) and all(member.held for member in self.members.values())

    def add(self, trial_id: str) -> None:
        """A new trial; the last one that fits closes the bracket."""
        self.members[trial_id] = Member(trial_id)
        self.added += 1
        self.closed = self.closed or self.added >= self.rungs[0].trials

    def member(self, trial_id: str) -> Member:
        """The member of this name; one that had ended, and was opened again, comes back."""
        return self.members.setdefault(trial_id, Member(trial_id))

    def waits(self, trial_id: str) -> bool:
        """Whether the trial is to stay where it is."""
        member = self.members.get(trial_id)
        return trial_id in self.dropped or (member is not None and member.held)

    def ranked(self) -> list[Member]:
        """The members by score, best last; of equals the later one is the better."""
        return sorted(self.members.values(), key=lambda m: m.score if m.score is not None else float("-inf"))

    def halve(self) -> list[Member]:
        """Go to the next rung; returns the members that do not, worst first."""
        self.at += 1
        ranked = self.ranked()
        losers = ranked[: -self.rung.trials]
        for member in losers:
            self.drop(member.trial_id)
        for member in self.members.values():
            member.move(self.rung.level)
        return losers

    def drop(self, trial_id: str) -> None:
        """The trial is to stop."""
        del self.members[trial_id]
        self.dropped.add(trial_id)

    def remove(self, trial_id: str) -> None:
        """The trial is over."""
        self.members.pop(trial_id, None)
        self.dropped.discard(trial_id)
