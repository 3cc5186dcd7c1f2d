"""Refusals whose message does not say whether a request can ever succeed: repetition tells. Pure."""

from __future__ import annotations

ENOUGH = 6
"""Equal refusals of one kind of request after which it is taken for impossible. Between two of them there is a pause
that doubles from 15 s, so this takes about eight minutes."""


class Repetitions:
    """Counts equal refusals by kind of request. A kind that was accepted once is possible, and is never given up."""

    def __init__(self) -> None:
        self._possible: set[str] = set()
        self._counts: dict[str, tuple[str, int]] = {}

    def accepted(self, kind: str) -> None:
        """A request of this kind was accepted."""
        self._possible.add(kind)
        self._counts.pop(kind, None)

    def refused(self, kind: str, words: str) -> bool:
        """A request of this kind was refused with this message. Returns whether that has happened ENOUGH times."""
        before, times = self._counts.get(kind, (words, 0))
        times = times + 1 if words == before else 1
        self._counts[kind] = words, times
        return times >= ENOUGH and kind not in self._possible

    def forget(self, kind: str) -> None:
        """Count again, because something else explains the refusals."""
        self._counts.pop(kind, None)
