"""Intervals between attempts and polls that grow while nothing happens."""

from __future__ import annotations


class Backoff:
    """An interval in ``seconds``: ``shortest`` at first and after :meth:`reset`, longer with each :meth:`grow`, at most
    ``longest``."""

    __slots__ = ("longest", "seconds", "shortest")

    def __init__(self, shortest: float, longest: float) -> None:
        self.shortest, self.longest = shortest, longest
        self.seconds = shortest

    def reset(self) -> float:
        """The shortest interval, from now on; returns it."""
        self.seconds = self.shortest
        return self.seconds

    def grow(self, factor: float = 2.0) -> float:
        """The interval after ``factor`` times the last one; returns it."""
        self.seconds = min(self.seconds * factor, self.longest)
        return self.seconds

    def take(self, factor: float = 2.0) -> float:
        """The interval as it is now; the next one is ``factor`` times as long."""
        now = self.seconds
        self.grow(factor)
        return now


class PollInterval(Backoff):
    """When to ask again: soon after a change, ever less often while nothing changes or no answer comes."""

    def after_answer(self, changed: bool) -> float:
        """The interval after an answer."""
        return self.reset() if changed else self.grow(1.5)

    def after_silence(self) -> float:
        """The interval after a question without an answer."""
        return self.grow(2.0)
