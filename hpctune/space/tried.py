"""Finds which configurations of a search space have been tried already: by their values, not by their numbers.

So a space may change between two drivers: what was tried in the earlier one, and is in the present one, counts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from numbers import Real
from typing import Any, TypeAlias

from hpctune.space.domain import Categorical, Domain
from hpctune.space.points import accepts
from hpctune.space.resolve import grid_size
from hpctune.space.tree import grid_values, has_unresolved, is_grid
from hpctune.space.variants import Variants

Finder: TypeAlias = Callable[[Any], list[int]]
"""Returns the numbers of the grid points at which a part of a space can have this value; [] if it cannot have it."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Tried:
    """Counts, for the grid points of each part of ``variants``, how often they were tried."""

    def __init__(self, variants: Variants) -> None:
        self._limits = [block.samples for block in variants.blocks]
        self._finders = [finder(block.space) for block in variants.blocks]
        self._counts: Counter[tuple[int, int]] = Counter()

    def __call__(self, block: int, point: int) -> int:
        """How often a grid point was tried."""
        return self._counts[block, point]

    def add(self, config: Mapping[str, Any]) -> tuple[bool, bool]:
        """Count a configuration. Returns whether it is in the space, and whether it was still to be tried.

        Where it fits several grid points, it counts for the first of those that were tried least.
        """
        known = False
        for block, (limit, find) in enumerate(zip(self._limits, self._finders, strict=True)):
            points = find(config)
            known = known or bool(points)
            if not points:
                continue
            point = min(points, key=lambda number: (self._counts[block, number], number))
            if limit is None or self._counts[block, point] < limit:
                self._counts[block, point] += 1
                return True, True
        return known, False


def finder(node: Any) -> Finder:
    """The Finder of a search space. Entries that a configuration has in addition do not matter."""
    if is_grid(node):
        return _grid_finder(grid_values(node))
    if isinstance(node, Categorical):
        find = _grid_finder(node.categories)
        return lambda given: [0] if find(given) else []
    if isinstance(node, Domain):
        return lambda given: [0] if accepts(node, given) else []
    if isinstance(node, dict):
        pairs = sorted(node.items(), key=lambda pair: str(pair[0]))  # the order of grid_point
        children = [(key, finder(child), grid_size(child)) for key, child in pairs]
        return lambda given: _product(children, given) if isinstance(given, Mapping) else []
    if type(node) in (list, tuple) and has_unresolved(node):
        items = [(index, finder(child), grid_size(child)) for index, child in enumerate(node)]
        return lambda given: (
            _product(items, dict(enumerate(given)))
            if isinstance(given, (list, tuple)) and len(given) == len(node)
            else []
        )
    return _grid_finder([node])


def _product(children: list[tuple[Any, Finder, int]], given: Mapping[Any, Any]) -> list[int]:
    found, stride = [0], 1
    for key, find, size in children:
        inner = find(given[key]) if key in given else []
        if not inner:
            return []
        found = [first + stride * number for number in inner for first in found]
        stride *= size
    return found


def _grid_finder(values: list[Any]) -> Finder:
    """For the values of an axis. Objects without a comparable identity may be any of those in ``values``."""
    known: dict[Hashable, list[int]] = {}
    objects: list[int] = []
    inner: list[tuple[int, Finder]] = []
    offset = 0
    for value in values:
        if isinstance(value, (dict, Domain)) or has_unresolved(value):
            inner.append((offset, finder(value)))
        else:
            known.setdefault(identity(value), []).append(offset)
            objects += [] if _comparable(value) else [offset]
        offset += grid_size(value)

    def find(given: Any) -> list[int]:
        found = list(known.get(identity(given), ()))
        found += [start + number for start, part in inner for number in part(given)]
        return found or ([] if _comparable(given) else objects)

    return find


def identity(value: Any) -> Hashable:
    """What is equal for equal values, also in another process; a list and a tuple of the same items are equal.

    For objects of other kinds it is their text without memory addresses.
    """
    if value is None or isinstance(value, (str, bytes)):
        return value
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, Real):
        return "number", "nan" if math.isnan(value) else value
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(identity, value))
    if isinstance(value, Mapping):
        return "dict", frozenset((identity(key), identity(each)) for key, each in value.items())
    if isinstance(value, (set, frozenset)):
        return "set", frozenset(map(identity, value))
    return "object", _ADDRESS.sub("", repr(value))


def _comparable(value: Any) -> bool:
    """Whether a value is made of text, numbers and containers, which are equal in every process."""
    if isinstance(value, Mapping):
        return all(map(_comparable, value.keys())) and all(map(_comparable, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_comparable, value))
    return value is None or isinstance(value, (str, bytes, Real))
