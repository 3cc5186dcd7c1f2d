"""What was found out about rows of one shape."""

from __future__ import annotations

from typing import TypeVar

from hpctune.model.rows import Shape

SHAPES = 1000
_Found = TypeVar("_Found")


class ShapeCache(dict[Shape, _Found]):
    """What was found out, by shape, of so many shapes: with more than that, it begins anew."""

    def note(self, shape: Shape, found: _Found) -> _Found:
        """Remember ``found``, and return it."""
        if len(self) >= SHAPES:
            self.clear()
        self[shape] = found
        return found
