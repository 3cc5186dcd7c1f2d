"""A cache of facts about rows of one shape."""

from __future__ import annotations

from typing import TypeVar

from hpctune.model.rows import Shape

SHAPES = 1000
_Found = TypeVar("_Found")


class ShapeCache(dict[Shape, _Found]):
    """Cached facts by shape. If there are more shapes than the limit, the cache starts empty again."""

    def note(self, shape: Shape, found: _Found) -> _Found:
        """Remember ``found``, and return it."""
        if len(self) >= SHAPES:
            self.clear()
        self[shape] = found
        return found
