"""Pickles of frozen dataclasses with slots by the names of their fields, so that fields can be added and moved.

Python's own way is by position::

    @pickled_by_name
    @dataclass(frozen=True, slots=True)
    class Options: ...

The decorator stands above the other: before Python 3.11.4 ``dataclass`` replaces the two functions in a class's body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def pickled_by_name(cls: C) -> C:
    """Give a dataclass the two functions that pickle it by the names of its fields."""
    made: Any = cls
    made.__getstate__, made.__setstate__ = _named_state, _take_state
    return cls


def _named_state(self: Any) -> dict[str, Any]:
    """The values of the fields by their names."""
    return {f.name: getattr(self, f.name) for f in fields(self)}


def _take_state(self: Any, state: Mapping[str, Any] | Sequence[Any]) -> None:
    """Take these values, and the defaults for fields that the pickle does not have.

    A sequence comes from a version that pickled by position: its order is ``_POSITIONS`` of the class, or that of the
    fields.
    """
    names = [f.name for f in fields(self)]
    known = state if isinstance(state, Mapping) else dict(zip(getattr(self, "_POSITIONS", names), state, strict=False))
    for field in fields(self):
        if field.name in known:
            value = known[field.name]
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            value = field.default
        object.__setattr__(self, field.name, value)
